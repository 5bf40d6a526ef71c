"""`tilda import`, `tilda simulate`, `tilda rejected`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click

from tilda import console
from tilda.state import running
from warehouse.events.imports import ImportResult, import_file
from warehouse.events.schema import Limits
from warehouse.kit.database import connect, running_database
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings
from warehouse.rejected import rejected_events
from warehouse.sites import registry
from warehouse.sites.refused_origins import list_refused_origins

SOME_LINES_REJECTED = 3
"""Exit code of an import that finished but rejected some lines of the file."""

ORIGINS_WITHIN = timedelta(days=7)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--site", "site_id", required=True, metavar="SITE", help="The site of the events.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["access-log", "events"]),
    required=True,
    help="access-log: a web server's log, combined or common. events: JSON Lines, one event per line as in the API."
    " Both may be compressed (.gz).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(file: Path, site_id: str, file_format: Literal["access-log", "events"], *, as_json: bool) -> None:
    """Import past events from a file. Importing the same file again adds nothing.

    Rejected lines are stored with their reasons; `tilda rejected list` shows them. The exit code is 3 if the import
    finished but rejected some lines.
    """
    settings = load_settings()
    with running_database(settings) as url, console.progress(f"Importing {file.name}", quiet=as_json) as advance:
        result = import_file(
            url,
            file,
            site_id=site_id,
            format=file_format,
            hash_key=settings.secrets.visitor_hash_key,
            progress=advance,
            limits=_limits(settings),
        )
    if as_json:
        console.print_json(result)
    else:
        console.print_result(replace(result, reasons=[]))
        _print_reasons(result)
    if result.rejected:
        sys.exit(SOME_LINES_REJECTED)


def _limits(settings: Settings) -> Limits:
    return Limits(settings.max_payload_bytes, settings.max_events_per_request)


def _print_reasons(result: ImportResult) -> None:
    if not result.reasons:
        return
    rows = [(one.code, one.lines, one.first_line, one.first_detail) for one in result.reasons]
    console.print_table("", ["reason", "lines", "first line", "its error"], rows)
    console.err.print(
        f"{result.rejected:,} of {result.lines:,} lines were rejected. Correct them and import the file again: only"
        " missing events are added.",
        markup=False,
    )


@click.command()
@click.option("--site", "site_id", required=True, metavar="SITE", help="The site that receives the events.")
@click.option("--visitors", type=click.IntRange(1), required=True, help="Number of visitors in the simulated time.")
@click.option("--days", type=click.IntRange(1), required=True, help="Number of simulated days.")
@click.option("--seed", type=int, required=True, help="Random seed: the same arguments produce the same events.")
@click.option("--end", type=click.DateTime(), help="End of the simulated time, UTC; default: the last full hour.")
@click.option(
    "--truth", type=click.Path(path_type=Path), help="Write the true conversion probabilities to this CSV file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(
    *,
    site_id: str,
    visitors: int,
    days: int,
    seed: int,
    end: datetime | None,
    truth: Path | None,
    as_json: bool,
) -> None:
    """Simulate visitors of a shop. Recent days are sent to the ingest API, older days are imported."""
    from demo import loading  # noqa: PLC0415 - pandas takes seconds to load

    settings = load_settings()
    state = running(settings.data_dir)
    if state is None or "ingest" not in state.urls:
        raise UserError("The ingest API is not running.", "Start it with `tilda up`.")
    with running_database(settings) as url, console.progress("Simulating", quiet=as_json) as advance:
        site = registry.get_site(url, site_id)
        until = end.replace(tzinfo=UTC) if end else None
        result = loading.load_simulation(
            url,
            site,
            loading.shop_simulation(site, visitors, days, seed, until),
            api=loading.Api(state.urls["ingest"], settings.secrets.service_key),
            hash_key=settings.secrets.visitor_hash_key,
            truth_file=truth,
            progress=advance,
        )
    if as_json:
        console.print_json(result)
    else:
        console.print_result(result)


@click.group("rejected")
def rejected_() -> None:
    """Show and replay rejected events, which are stored with their reasons."""


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that filter rejected events."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--since", type=click.DateTime(), help="Only events rejected at or after this time, UTC."),
        click.option("--code", help="Only events rejected with this code, as in `tilda rejected list`."),
        click.option("--site", "site_id", metavar="SITE", help="Only events of this site."),
    ):
        command = option(command)
    return command


def _filter(site_id: str | None, code: str | None, since: datetime | None) -> rejected_events.Filter:
    return rejected_events.Filter(site_id, code, since.replace(tzinfo=UTC) if since else None)


@rejected_.command("list")
@_filter_options
@click.option("--origins", "only_origins", is_flag=True, help="List only refused origins.")
def list_rejected(
    *, site_id: str | None, code: str | None, since: datetime | None, only_origins: bool, as_json: bool
) -> None:
    """Count rejected events by code, list the newest, and list origins of pages that the API refused.

    Origins cover the last 7 days, or the time since --since. --json prints the newest events, or with --origins the
    origins.
    """
    wanted = _filter(site_id, code, since)
    with running_database(load_settings()) as url, connect(url) as connection:
        if site_id is not None:
            registry.find_site(connection, site_id)
        counts = [] if only_origins else rejected_events.count_rejected(connection, wanted)
        newest = [] if only_origins else rejected_events.list_rejected(connection, wanted)
        origins = list_refused_origins(connection, wanted.since or datetime.now(UTC) - ORIGINS_WITHIN, site_id)
    if as_json:
        console.print_json(origins if only_origins else newest)
        return
    if not only_origins:
        console.print_table("", ["site", "code", "events", "newest"], counts)
        console.print_records(newest)
    if origins and code is None:
        console.print_table(
            "Origins that are not a domain of the site",
            ["site", "origin", "requests", "newest", "allow it with"],
            [(one.site_id, one.origin, one.requests, one.last_at, one.allow_with) for one in origins],
        )


@rejected_.command("replay")
@_filter_options
def replay_rejected(*, site_id: str | None, code: str | None, since: datetime | None, as_json: bool) -> None:
    """Validate rejected events again, after their cause was fixed. Accepted events leave the list."""
    wanted = _filter(site_id, code, since)
    settings = load_settings()
    with running_database(settings) as url, connect(url) as connection:
        if site_id is not None:
            registry.find_site(connection, site_id)
        result = rejected_events.replay_rejected(connection, wanted, _limits(settings))
    if as_json:
        console.print_json(result)
    else:
        console.print_result(result)


COMMANDS = (import_, simulate, rejected_)
