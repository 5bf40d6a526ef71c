"""Compare the sessions that dbt builds from a real access log with sessions that pandas computes from the same log.

`python -m bench.access_log [FILE]` imports a log in Apache's combined format into its own embedded Postgres, builds the
models, and compares every row and column. The default FILE is the demo's log. If rows differ, the script prints them
and exits with 1.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from demo.loading import SAMPLE_LOG
from tests.dbt.access_log import differing, modelled_sessions, read_page_views, recompute_sessions
from tests.dbt.dbt_project import run_dbt
from tests.embedded import migrated_database, running_postgres
from warehouse.events.imports import import_file
from warehouse.kit.database import connect
from warehouse.sites.registry import add_site

NO_TESTS = ("unit_test", "test")
SITE, KEY = "blog", "key"


def main() -> int:
    """Compare the sessions and print the result; return the exit code: 1 if rows differ, else 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.access_log", description=__doc__)
    parser.add_argument(
        "file", type=Path, nargs="?", default=SAMPLE_LOG, help="the access log, optionally compressed with gzip"
    )
    parser.add_argument("--domain", default="semicomplete.com", help="domain of the site that wrote the log")
    parser.add_argument("--timezone", default="America/Los_Angeles", help="time zone of the site")
    options = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="bench-access-log-") as folder,
        running_postgres(Path(folder) / "data", 55500, secrets.token_hex(8)) as server,
    ):
        url = migrated_database(server, "log")
        add_site(url, SITE, [options.domain], options.timezone)
        result = import_file(url, options.file, site_id=SITE, format="access-log", hash_key=KEY)
        run_dbt(url, Path(folder) / "dbt", "build", "--select", "+sessions", "--exclude-resource-types", *NO_TESTS)
        with connect(url) as connection:
            modelled = modelled_sessions(connection, SITE)
    views = read_page_views(options.file, SITE, [options.domain], KEY)
    expected = recompute_sessions(views, options.timezone)
    others = differing(modelled, expected)
    console.print(f"{result.lines:,} lines, {result.imported:,} page views, of which {result.bots:,} by crawlers")
    console.print(f"{len(modelled):,} sessions of {modelled['user_id'].nunique():,} visitors built by dbt")
    console.print(f"{len(expected):,} sessions of {expected['user_id'].nunique():,} visitors computed by pandas")
    console.print(f"{len(modelled.columns) + 1} columns compared, {others.index.nunique():,} rows differ")
    if len(others):
        console.print(others.head(20).to_string())
    return int(len(others) > 0)


if __name__ == "__main__":
    sys.exit(main())
