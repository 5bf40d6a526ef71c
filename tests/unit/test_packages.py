"""What the stack runs on is locked apart from what development needs, and is enough for the code that is shipped."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.locks import ROOT, pins

SHIPPED = ("demo", "ingest_api", "ml", "orchestration", "tilda", "warehouse")
OF_THE_DEMO = {"demo/browser.py": {"playwright"}}  # `make demo` installs it beside the packages of requirements.lock


def test_the_locks_hold_hashes_and_no_addresses() -> None:
    for name in ("requirements", "requirements-demo", "requirements-dev", "requirements-mindsdb"):
        text = (ROOT / f"{name}.lock").read_text()
        assert "://" not in text
        assert text.count("--hash=sha256:") >= len(pins(f"{name}.lock"))


def test_development_adds_packages_and_changes_none() -> None:
    development = pins("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-demo.lock"):
        for name, versions in pins(lock).items():
            assert development[name] == versions, f"{name}: run `make lock`"
    assert {"pytest", "ruff", "playwright", "chdb"} <= development.keys() - pins("requirements.lock").keys()


def test_shipped_code_imports_only_packages_that_the_stack_runs_on() -> None:
    locked, distributions = pins("requirements.lock"), packages_distributions()
    for package in SHIPPED:
        for file in (ROOT / package).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            for module in imported(file) - sys.stdlib_module_names - set(SHIPPED) - OF_THE_DEMO.get(name, set()):
                known = {re.sub(r"[._]", "-", one.lower()) for one in distributions[module]}
                assert known & locked.keys(), f"{name} imports {module}, which requirements.lock does not hold"


def imported(file: Path) -> set[str]:
    """Top-level modules that a file imports when it runs; imports for type checkers only do not count."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


class Checkout:
    """The Makefile with a uv that only records which locks it was asked to install."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for file in [ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("requirements*.lock")]:
            shutil.copy(file, folder)
        programs = folder / ".tools" / "bin"
        programs.mkdir(parents=True)
        write_script(
            programs / "uv", 'test "$2" = sync && echo "$@" | grep -o "requirements[a-z-]*.lock" >> synced || true'
        )
        (folder / ".venv" / "bin").mkdir(parents=True)
        write_script(folder / ".venv" / "bin" / "python", "echo /nowhere")

    def make(self, *targets: str) -> list[str]:
        """Run targets; returns the locks that they installed."""
        done = subprocess.run(["make", *targets], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        synced = self.folder / "synced"
        locks = synced.read_text().split() if synced.exists() else []
        synced.unlink(missing_ok=True)
        return locks


def write_script(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_stack_needs_no_development_packages(checkout: Checkout) -> None:
    assert checkout.make("setup") == ["requirements.lock"]
    assert checkout.make("setup") == []
    assert checkout.make(".venv/.demo") == ["requirements.lock", "requirements-demo.lock"]
    assert checkout.make("setup-dev") == ["requirements-dev.lock"]
    assert [checkout.make(target) for target in ("setup", ".venv/.demo", "setup-dev")] == [[], [], []]


def test_make_test_installs_once(checkout: Checkout) -> None:
    assert checkout.make("setup-dev", "setup", ".venv/.demo") == ["requirements-dev.lock"]


@pytest.mark.parametrize(
    ("before", "kept"),
    [("setup-dev", ["requirements-dev.lock"]), (".venv/.demo", ["requirements.lock", "requirements-demo.lock"])],
)
def test_a_new_lock_removes_no_packages_that_were_there(checkout: Checkout, before: str, kept: list[str]) -> None:
    checkout.make(before)
    for stamp in (checkout.folder / ".venv").glob(".*"):
        os.utime(stamp, (1_000_000_000, 1_000_000_000))
    assert checkout.make("setup") == kept
    assert checkout.make("setup") == []
    assert checkout.make(before) == []
