"""Runs dbt on a database with the platform's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestration.lib.dbt import dbt_environment

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"


def run_dbt(url: str, target: Path, *arguments: str, project: Path = PROJECT) -> str:
    """Run one dbt command and return its stdout. If dbt fails, raise AssertionError with its output."""
    environment = os.environ | dbt_environment(url)
    command = [Path(sys.executable).parent / "dbt", arguments[0], "--project-dir", project, "--profiles-dir", project]
    command += ["--target-path", target, "--log-path", target / "logs", "--quiet", *arguments[1:]]
    full = [os.fspath(part) for part in command]
    done = subprocess.run(full, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
