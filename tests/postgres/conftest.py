"""Programs that not every machine can have: what needs one that is missing is left out, and the report says so."""

from __future__ import annotations

import os
import shutil

from tests.postgres.security_table import DEBIAN_15

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

collect_ignore = [] if PGBOUNCER else ["test_pgbouncer.py"]


def pytest_report_header() -> list[str]:
    """Say what is left out."""
    missing = [("PgBouncer", PGBOUNCER is None), ("Postgres 15", not DEBIAN_15.exists())]
    return [f"left out, not installed (make servers): {name}" for name, is_missing in missing if is_missing]
