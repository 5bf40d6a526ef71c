"""Postgres's own programs, as tests use them: a database as comparable text, a script run by psql."""

from __future__ import annotations

import re
import subprocess

from warehouse.kit.embedded_postgres import programs


def dump(url: str) -> str:
    """The database as text: schema, rights, policies, rows.

    Lines that pg_dump makes up anew are left out, and so are brackets: Postgres writes a condition that it has read
    from a dump with fewer of them.
    """
    command = [programs(18) / "pg_dump", "--no-owner", "--inserts", f"--dbname={url}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [re.sub(r"[()\s]", "", line) for line in done.stdout.splitlines() if not line.startswith("\\")]
    return "\n".join(sorted(lines))


def psql(url: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script with psql, as a database administrator does."""
    command = [programs(18) / "psql", "--no-psqlrc", "--quiet", *options, f"--dbname={url}", "--file=-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)
