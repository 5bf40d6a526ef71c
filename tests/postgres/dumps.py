"""Run pg_dump and psql: dump a database as comparable text, and run a script."""

from __future__ import annotations

import re
import subprocess

from warehouse.kit.embedded_postgres import programs


def dump(url: str) -> str:
    """Return the database as text: schema, privileges, policies and rows.

    Lines that differ between any two dumps are removed. So are parentheses, because Postgres prints a condition with
    fewer parentheses after it was restored from a dump.
    """
    command = [programs(18) / "pg_dump", "--no-owner", "--inserts", f"--dbname={url}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [re.sub(r"[()\s]", "", line) for line in done.stdout.splitlines() if not line.startswith("\\")]
    return "\n".join(sorted(lines))


def psql(url: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run an SQL script with psql."""
    command = [programs(18) / "psql", "--no-psqlrc", "--quiet", *options, f"--dbname={url}", "--file=-"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)
