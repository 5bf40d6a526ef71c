"""The stack's packages are locked separately from development packages and suffice for the shipped code."""

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
DEMO_ONLY = {"demo/browser.py": {"playwright"}}  # `make demo` installs requirements-demo.lock


def test_locks_contain_hashes_and_no_urls() -> None:
    for name in ("requirements", "requirements-demo", "requirements-dev", "requirements-mindsdb"):
        text = (ROOT / f"{name}.lock").read_text()
        assert "://" not in text
        assert text.count("--hash=sha256:") >= len(pins(f"{name}.lock"))


def test_the_development_lock_has_the_versions_of_the_other_locks() -> None:
    development = pins("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-demo.lock"):
        for name, versions in pins(lock).items():
            assert development[name] == versions, f"{name}: run `make lock`"
    assert {"pytest", "ruff", "playwright", "chdb"} <= development.keys() - pins("requirements.lock").keys()


def test_shipped_code_imports_only_locked_packages() -> None:
    locked, distributions = pins("requirements.lock"), packages_distributions()
    for package in SHIPPED:
        for file in (ROOT / package).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            for module in imported(file) - sys.stdlib_module_names - set(SHIPPED) - DEMO_ONLY.get(name, set()):
                known = {re.sub(r"[._]", "-", one.lower()) for one in distributions[module]}
                assert known & locked.keys(), f"{name} imports {module}, which requirements.lock does not hold"


def imported(file: Path) -> set[str]:
    """Return the top-level modules that a file imports at run time, without imports under TYPE_CHECKING."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


class Checkout:
    """A copy of the Makefile with a fake `uv` that only records which locks it should install."""

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
        """Run the targets and return the locks that they installed."""
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


def test_each_make_target_installs_only_its_locks(checkout: Checkout) -> None:
    assert checkout.make("setup") == ["requirements.lock"]
    assert checkout.make("setup") == []
    assert checkout.make(".venv/.demo") == ["requirements.lock", "requirements-demo.lock"]
    assert checkout.make("setup-dev") == ["requirements-dev.lock"]
    assert [checkout.make(target) for target in ("setup", ".venv/.demo", "setup-dev")] == [[], [], []]


def test_the_development_lock_covers_the_other_targets(checkout: Checkout) -> None:
    assert checkout.make("setup-dev", "setup", ".venv/.demo") == ["requirements-dev.lock"]


@pytest.mark.parametrize(
    ("before", "kept"),
    [("setup-dev", ["requirements-dev.lock"]), (".venv/.demo", ["requirements.lock", "requirements-demo.lock"])],
)
def test_a_changed_lock_keeps_the_installed_development_or_demo_packages(
    checkout: Checkout, before: str, kept: list[str]
) -> None:
    checkout.make(before)
    for stamp in (checkout.folder / ".venv").glob(".*"):
        os.utime(stamp, (1_000_000_000, 1_000_000_000))
    assert checkout.make("setup") == kept
    assert checkout.make("setup") == []
    assert checkout.make(before) == []
