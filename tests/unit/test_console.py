"""Commands quoted in messages can be pasted into the shell that shows the message."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilda import console

TILDA = Path(sys.executable).parent / "tilda"
COMMANDS = Path(console.__file__).parent / "commands"


@pytest.fixture(autouse=True)
def clear_name_cache() -> Iterator[None]:
    console.command_name.cache_clear()
    yield
    console.command_name.cache_clear()


def test_commands_use_the_bare_name_when_path_finds_this_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(TILDA.parent))
    assert console.as_typed("Start it with `tilda up`.") == "Start it with `tilda up`."
    (tmp_path / "tilda").symlink_to(TILDA)  # pipx installs such a symlink
    monkeypatch.setenv("PATH", str(tmp_path))
    console.command_name.cache_clear()
    assert console.command_name() == "tilda"


def test_commands_use_the_path_when_the_bare_name_finds_nothing_or_another_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    monkeypatch.chdir(TILDA.parents[2])
    relative = str(TILDA.relative_to(TILDA.parents[2]))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert console.as_typed("`tilda up` or: tilda down") == f"`{relative} up` or: {relative} down"
    other = tmp_path / "tilda"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    console.command_name.cache_clear()
    assert console.command_name() == relative
    monkeypatch.chdir(tmp_path)
    console.command_name.cache_clear()
    assert console.command_name() == str(TILDA)


def test_commands_use_the_absolute_path_under_make_from_another_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MAKEFLAGS", "w -- DETACH=1")
    monkeypatch.chdir(TILDA.parents[2])
    assert console.command_name() == str(TILDA)


@pytest.mark.parametrize(
    "text",
    ["mysql -u tilda -p mindsdb", "/usr/bin/tilda up", "dbname=tilda user=x", "Tilda sends forms", "tilda-analytics"],
)
def test_text_that_is_not_a_command_is_unchanged(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert console.as_typed(text) == text


def test_errors_and_help_quote_a_command_that_runs(tmp_path: Path) -> None:
    def run_tilda(*arguments: str, path: str) -> str:
        done = subprocess.run(
            [str(TILDA), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PATH": path, "DATA_DIR": str(tmp_path), "DATABASE_URL": "", "DATABASE_DIRECT_URL": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    simulate = ("simulate", "--site", "x", "--visitors", "1", "--days", "1", "--seed", "1")
    assert "Start it with `tilda up`." in run_tilda(*simulate, path=str(TILDA.parent))
    assert f"Start it with `{TILDA} up`." in run_tilda(*simulate, path="/usr/bin:/bin")
    help_text = run_tilda("--help", path="/usr/bin:/bin")
    assert f"Usage: {TILDA} [OPTIONS]" in help_text
    assert f"`{TILDA} up` starts the stack" in " ".join(help_text.split())


def test_commands_never_print_a_tilda_command_with_click_echo() -> None:
    """`click.echo` would print the bare name; `console.echo` replaces it with the name that works."""
    for file in COMMANDS.glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "click.echo":
                assert not re.search(r"\btilda [a-z]", ast.unparse(call)), f"{file.name}:{call.lineno}: console.echo"
