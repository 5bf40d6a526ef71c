"""`tilda partitions`, `tilda archive`, `tilda restore`: monthly tables and archived months."""

from __future__ import annotations

from datetime import UTC, date, datetime

import click

from tilda import console
from warehouse.kit.database import running_database
from warehouse.kit.settings import load_settings
from warehouse.partitions import months


@click.group("partitions")
def partitions_() -> None:
    """Manage the monthly partitions of public.events."""


@partitions_.command("ensure")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ensure(*, as_json: bool) -> None:
    """Create partitions for this month, the next three, and months of events in the default partition."""
    with running_database(load_settings()) as url:
        made = months.ensure(url)
        waiting = months.waiting(url)
    if as_json:
        console.print_json({"made": made, "waiting": {f"{month:%Y-%m}": rows for month, rows in waiting.items()}})
        return
    click.echo(f"Created {', '.join(f'{month:%Y-%m}' for month in made)}." if made else "No partition was missing.")
    for month, rows in waiting.items():
        console.echo(
            f"{rows:,} event(s) belong to the archived month {month:%Y-%m}. Restore it: tilda restore {month:%Y-%m}"
        )


@partitions_.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """List the months with their location, size, oldest and newest event."""
    with running_database(load_settings()) as url:
        found = months.list_partitions(url)
    if as_json:
        console.print_json(found)
    else:
        console.print_records(found)


@click.group("archive")
def archive_() -> None:
    """Move old months out of public.events."""


@archive_.command("run")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Compute ages as of this day (UTC) instead of now.")
@click.option("--dry-run", is_flag=True, help="Print the planned changes; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(*, as_of: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Move old months to the archive, and older ones to files in cold storage.

    ARCHIVE_AFTER_MONTHS and COLD_AFTER_MONTHS set the ages. The age of a month counts from its end, or from its last
    import or restore if that is later. A file is read back and compared before its table is dropped. If a run is
    killed, the next run continues.
    """
    from warehouse.archive import runs  # noqa: PLC0415 - pyarrow takes a second to load

    settings = load_settings()
    moment = as_of.replace(tzinfo=UTC) if as_of else datetime.now(UTC)
    ages = runs.ages_of(settings)
    with running_database(settings) as url:
        if dry_run:
            steps = runs.dry_run(url, ages, moment)
        else:
            with console.progress("Archiving", quiet=as_json) as advance:
                steps = runs.run(url, ages, settings.cold_storage, moment, advance)
    if as_json:
        console.print_json(steps)
        return
    words = ("Would move", "Would write") if dry_run else ("Moved", "Wrote")
    for step in steps:
        if step.action == "archive":
            click.echo(f"{words[0]} {step.month:%Y-%m} to the archive: {step.rows:,} events.")
        else:
            click.echo(f"{words[1]} {step.month:%Y-%m} to {settings.cold_storage}: {step.rows:,} events.")
    if not steps:
        click.echo("No month is old enough.")


def _month(_: click.Context, __: click.Parameter, value: str) -> date:
    try:
        return datetime.strptime(value, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise click.BadParameter("write a month like 2025-01.") from error


@click.command("restore")
@click.argument("month", metavar="YYYY-MM", callback=_month)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def restore(month: date, *, as_json: bool) -> None:
    """Move an archived or cold month back to public.events and verify it. Its age then counts from now."""
    from warehouse.archive import runs  # noqa: PLC0415 - pyarrow takes a second to load

    with (
        running_database(load_settings()) as url,
        console.progress(f"Restoring {month:%Y-%m}", quiet=as_json) as advance,
    ):
        result = runs.restore(url, month, advance)
    if as_json:
        console.print_json(result)
    else:
        click.echo(f"{month:%Y-%m} is live again: {result.rows:,} events.")


COMMANDS = (partitions_, archive_, restore)
