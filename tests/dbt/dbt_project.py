"""Runs dbt on a database, as the platform does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"


def run_dbt(url: str, target: Path, *arguments: str) -> str:
    """Run one dbt command; returns what it printed and fails the test with it when dbt does."""
    parts = urlsplit(url)
    environment = os.environ | {
        "DBT_HOST": parts.hostname or "",
        "DBT_PORT": str(parts.port),
        "DBT_USER": unquote(parts.username or ""),
        "DBT_PASSWORD": unquote(parts.password or ""),
        "DBT_DATABASE": parts.path.lstrip("/"),
    }
    command = [Path(sys.executable).parent / "dbt", arguments[0], "--project-dir", PROJECT, "--profiles-dir", PROJECT]
    command += ["--target-path", target, "--log-path", target / "logs", "--quiet", *arguments[1:]]
    full = [os.fspath(part) for part in command]
    done = subprocess.run(full, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
