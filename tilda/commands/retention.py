"""`tilda retention`: rows that are kept for a limited time."""

from __future__ import annotations

import click

from tilda import console
from warehouse.kit.database import running_database
from warehouse.kit.settings import load_settings


@click.group("retention")
def retention_() -> None:
    """Rows that are kept for a limited time: refused events, claims, old visitors and sessions."""


@retention_.command("run")
@click.option("--dry-run", is_flag=True, help="Count what would be deleted, and delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def run(*, dry_run: bool, as_json: bool) -> None:
    """Delete expired rows in small batches.

    REJECTED_KEEP_DAYS, CLAIMS_KEEP_DAYS, USERS_KEEP_MONTHS and SESSIONS_KEEP_MONTHS say how long rows are kept. The row
    of a visitor or session stays while one of its events may be in Postgres. Killed anywhere, the next run goes on.
    """
    from warehouse.retention import expired_rows  # noqa: PLC0415 - pyarrow takes a second to load

    settings = load_settings()
    with running_database(settings) as url:
        if dry_run:
            expired = expired_rows.dry_run(url, settings)
        else:
            with console.progress("Deleting expired rows", quiet=as_json) as advance:
                expired = expired_rows.run(url, settings, advance)
    if as_json:
        console.print_json(expired)
        return
    for one in expired:
        words = "would be deleted" if dry_run else "deleted"
        click.echo(f"{one.table}: {one.rows:,} rows {words}, from before {one.before:%Y-%m-%d}.")


COMMANDS = (retention_,)
