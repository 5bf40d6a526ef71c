"""`tilda user find`, `tilda user export`, `tilda user erase`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tilda import console
from warehouse.kit.database import running_database
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings

if TYPE_CHECKING:
    from warehouse.privacy.erase import Erasure
    from warehouse.privacy.identifier import Identifier
    from warehouse.privacy.search import Search

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def user() -> None:
    """What is held about a person: found, shown, or removed from every place."""


def _of_one_person(command: Command) -> Command:
    """The site and exactly one identifier."""
    for option in (
        click.option("--visitor", metavar="ID", help="A visitor id: analytics_user_id of the person's browser."),
        click.option("--order", metavar="NUMBER", help="The number of an order, or of a sent form (tranid)."),
        click.option("--external-id", metavar="ID", help="The id that the site passes to identify()."),
        click.option("--phone", metavar="NUMBER", help="A telephone number; only its hash is stored."),
        click.option("--email", metavar="ADDRESS", help="An e-mail address; only its hash is stored."),
        click.option("--site", "site_id", required=True, metavar="SITE", help="The person's site."),
        click.argument("user_id", metavar="[USER_ID]", required=False),
    ):
        command = option(command)
    return command


def _identifier(user_id: str | None, **options: str | None) -> Identifier:
    """The identifier that the options name; the former argument USER_ID counts as --visitor.

    Raises:
        UsageError: There is none, or more than one.
    """
    from warehouse.privacy.identifier import KINDS, Identifier  # noqa: PLC0415 - as with the rest of warehouse.privacy

    if user_id is not None:
        console.err.print(
            f"USER_ID is deprecated and will be removed: write --visitor {user_id}.", markup=False, style="yellow"
        )
    given = [Identifier.parse(kind, text) for kind in KINDS if (text := options[kind.replace("-", "_")]) is not None]
    given += [Identifier.parse("visitor", user_id)] if user_id is not None else []
    if len(given) != 1:
        raise click.UsageError(f"Name the person by one of {', '.join(f'--{kind}' for kind in KINDS)}.")
    return given[0]


@user.command("find")
@_of_one_person
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def find(user_id: str | None, *, site_id: str, as_json: bool, **options: str | None) -> None:
    """Find a person by what they can name, and say how much is held.

    Searched are live, archived and cold months, the spool, refused events and the models. Backups are not: they expire.
    An unknown person is an error with exit code 1.
    """
    identifier = _identifier(user_id, **options)
    settings = load_settings()
    with running_database(settings) as url:
        found = _search(url, settings, site_id, identifier, quiet=as_json)
    if as_json:
        console.print_json(_as_json(found))
        return
    _print_persons(found)
    _print_places(found.held, "held")


@user.command("export")
@_of_one_person
def export(user_id: str | None, *, site_id: str, **options: str | None) -> None:
    """Print everything that is held about a person, as JSON for the person to read."""
    from warehouse.privacy.export import export_person  # noqa: PLC0415 - Arrow takes a while to load

    identifier = _identifier(user_id, **options)
    settings = load_settings()
    with running_database(settings) as url:
        found = _search(url, settings, site_id, identifier, quiet=True)
        found.require_one(f"See them with `tilda user find`; export one with --visitor ({_first_ids(found)}).")
        console.print_json(export_person(url, settings, found.everybody))


@user.command("erase")
@_of_one_person
@click.option("--all", "all_persons", is_flag=True, help="Erase all persons whom the identifier names, not only one.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def erase(
    user_id: str | None,
    *,
    site_id: str,
    all_persons: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Forget a person, everywhere, and count what is left: 0.

    All visitor ids of the person count. What arrives late from them is dropped. Killed or refused half-way, the same
    command goes on where it stopped. It asks for confirmation; without a terminal it needs --yes.
    """
    from warehouse.privacy.erase import Erasure, erase_person  # noqa: PLC0415 - Arrow takes a while to load

    identifier = _identifier(user_id, **options)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UserError(
            "Erasing asks for confirmation, and there is no terminal to ask on.",
            "See what would be removed with --dry-run, then add --yes.",
        )
    settings = load_settings()
    started = time.monotonic()
    with running_database(settings) as url:
        found = _search(url, settings, site_id, identifier, quiet=as_json)
        if not all_persons:
            found.require_one(
                f"See them with `tilda user find`; erase one with --visitor ({_first_ids(found)}), or all with --all."
            )
        if not as_json:
            _print_persons(found)
            _print_places(found.held, "would be removed" if dry_run else "will be removed")
        if dry_run:
            if as_json:
                ids = sorted(found.everybody.visitor_ids)
                seconds = round(time.monotonic() - started, 3)
                console.print_json(Erasure(None, site_id, ids, True, found.held, 0, seconds))
            return
        if not (yes or _confirmed(found)):
            console.err.print("Nothing was erased.")
            sys.exit(1)
        with console.waiting("Erasing", quiet=as_json) as say:
            done = erase_person(url, settings, found.everybody, say=say)
    if as_json:
        console.print_json(done)
    else:
        _print_erasure(done)


def _search(url: str, settings: Settings, site_id: str, identifier: Identifier, *, quiet: bool) -> Search:
    from warehouse.privacy.search import search  # noqa: PLC0415 - Arrow takes a while to load

    with console.waiting("Connecting", quiet=quiet) as say:
        return search(url, settings, site_id, identifier, say=say)


def _confirmed(found: Search) -> bool:
    rows = sum(found.held.values())
    whom = "this person" if len(found.persons) == 1 else f"these {len(found.persons)} persons"
    return click.confirm(f"Remove these {rows:,} rows of {whom} from {found.site_id} for good?", err=True)


def _first_ids(found: Search) -> str:
    return ", ".join(one.visitor_ids[0] for one in found.persons[:5] if one.visitor_ids)


def _print_persons(found: Search) -> None:
    headings = ["person", "visitor ids", "first seen", "last seen", "events", "orders"]
    rows = [
        (
            number,
            ", ".join(one.visitor_ids) or "none",
            f"{one.first_seen_at:%Y-%m-%d %H:%M}" if one.first_seen_at else None,
            f"{one.last_seen_at:%Y-%m-%d %H:%M}" if one.last_seen_at else None,
            one.events,
            one.orders,
        )
        for number, one in enumerate(found.persons, start=1)
    ]
    console.print_table("", headings, rows)


def _print_places(held: dict[str, int], heading: str) -> None:
    rows = [(place, count) for place, count in sorted(held.items()) if count]
    console.print_table("", ["place", heading], rows or [("nowhere", 0)])


def _print_erasure(done: Erasure) -> None:
    _print_places(done.removed, "removed")
    click.echo(f"Visitor ids of this person: {len(done.visitor_ids)}.")
    click.echo(f"Left anywhere: {done.left}. It took {done.seconds:.1f} s.")
    for backup in done.backups:
        click.echo(f"The backup {backup.name} still holds the person until {backup.expires_at:%Y-%m-%d}.")


def _as_json(found: Search) -> dict[str, Any]:
    return {
        "site_id": found.site_id,
        "identifier": found.identifier,
        "persons": found.persons,
        "held": found.held,
    }


COMMANDS = (user,)
