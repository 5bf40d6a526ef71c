"""`tilda retention`: deletion of expired rows."""

from __future__ import annotations

import click

from tilda import console
from warehouse.kit.database import running_database
from warehouse.kit.settings import load_settings


@click.group("retention")
def retention_() -> None:
    """Delete expired rows: rejected events, claimed times, old visitors and sessions."""


@retention_.command("run")
@click.option("--dry-run", is_flag=True, help="Count expired rows; delete nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(*, dry_run: bool, as_json: bool) -> None:
    """Delete expired rows in small batches.

    REJECTED_KEEP_DAYS, CLAIMS_KEEP_DAYS, USERS_KEEP_MONTHS and SESSIONS_KEEP_MONTHS set how long rows are kept. The row
    of a visitor or session is kept while Postgres may hold one of its events. If a run is killed, the next continues.
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
        click.echo(f"{one.table}: {one.rows:,} rows older than {one.before:%Y-%m-%d} {words}.")


COMMANDS = (retention_,)
