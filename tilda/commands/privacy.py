"""`tilda user find`, `tilda user export`, `tilda user erase`."""

from __future__ import annotations

import sys
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
    """Find, export or erase the data of a person."""


def _person_options(command: Command) -> Command:
    """Add the options for the site and the identifier of a person."""
    for option in (
        click.option("--visitor", metavar="ID", help="Visitor ID: the cookie analytics_user_id."),
        click.option("--order", metavar="NUMBER", help="Order number, or transaction ID (tranid) of a form."),
        click.option("--external-id", metavar="ID", help="ID that the site passes to identify()."),
        click.option("--phone", metavar="NUMBER", help="Telephone number; only its hash is stored."),
        click.option("--email", metavar="ADDRESS", help="E-mail address; only its hash is stored."),
        click.option("--site", "site_id", required=True, metavar="SITE", help="The person's site."),
        click.argument("user_id", metavar="[USER_ID]", required=False),
    ):
        command = option(command)
    return command


def _identifier(user_id: str | None, **options: str | None) -> Identifier:
    """Return the identifier in the options. The deprecated argument USER_ID is read as --visitor.

    Raises:
        UsageError: There is no identifier, or more than one.
    """
    from warehouse.privacy.identifier import KINDS, Identifier  # noqa: PLC0415 - pyarrow takes a second to load

    if user_id is not None:
        console.err.print(
            f"USER_ID is deprecated and will be removed. Use --visitor {user_id}.", markup=False, style="yellow"
        )
    given = [Identifier.parse(kind, text) for kind in KINDS if (text := options[kind.replace("-", "_")]) is not None]
    given += [Identifier.parse("visitor", user_id)] if user_id is not None else []
    if len(given) != 1:
        raise click.UsageError(f"Identify the person by one of {', '.join(f'--{kind}' for kind in KINDS)}.")
    return given[0]


@user.command("find")
@_person_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def find(user_id: str | None, *, site_id: str, as_json: bool, **options: str | None) -> None:
    """Find a person by an identifier, and count the stored rows by place.

    The search covers live, archived and cold months, the spool, rejected events and the models, but not backups, which
    expire. The exit code is 1 if nobody is found.
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
@_person_options
def export(user_id: str | None, *, site_id: str, **options: str | None) -> None:
    """Print all data of a person as JSON."""
    from warehouse.privacy.export import export_person  # noqa: PLC0415 - pyarrow takes a second to load

    identifier = _identifier(user_id, **options)
    settings = load_settings()
    with running_database(settings) as url:
        found = _search(url, settings, site_id, identifier, quiet=True)
        found.require_one(f"List them with `tilda user find`; export one with --visitor ({_first_ids(found)}).")
        console.print_json(export_person(url, settings, found.everybody))


@user.command("erase")
@_person_options
@click.option("--all", "all_persons", is_flag=True, help="Erase all persons that match the identifier.")
@click.option("--dry-run", is_flag=True, help="Count the rows to remove; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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
    """Erase a person from all places, then search again and print the number of remaining rows: 0.

    All visitor IDs of the person are erased, and their late events are dropped. Repeat an interrupted command to
    continue it. The command asks for confirmation; without a terminal it needs --yes.
    """
    from warehouse.privacy.erase import erase_person, plan_erasure  # noqa: PLC0415 - pyarrow takes a second to load

    identifier = _identifier(user_id, **options)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UserError(
            "Erasing needs confirmation, but the input is not a terminal.",
            "Check the counts with --dry-run, then add --yes.",
        )
    settings = load_settings()
    with running_database(settings) as url:
        found = _search(url, settings, site_id, identifier, quiet=as_json)
        if not all_persons:
            found.require_one(
                f"List them with `tilda user find`; erase one with --visitor ({_first_ids(found)}), or all with --all."
            )
        if not as_json:
            _print_persons(found)
            _print_places(found.held, "would be removed" if dry_run else "will be removed")
        if dry_run:
            if as_json:
                console.print_json(plan_erasure(url, settings, found.everybody))
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
    from warehouse.privacy.search import search  # noqa: PLC0415 - pyarrow takes a second to load

    with console.waiting("Connecting", quiet=quiet) as say:
        return search(url, settings, site_id, identifier, say=say)


def _confirmed(found: Search) -> bool:
    rows = sum(found.held.values())
    persons = "this person" if len(found.persons) == 1 else f"these {len(found.persons)} persons"
    return click.confirm(f"Remove these {rows:,} rows of {persons} from {found.site_id} for good?", err=True)


def _first_ids(found: Search) -> str:
    return ", ".join(one.visitor_ids[0] for one in found.persons[:5] if one.visitor_ids)


def _print_persons(found: Search) -> None:
    headings = ["person", "visitor IDs", "first seen", "last seen", "events", "orders"]
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
    click.echo(f"Visitor IDs of this person: {len(done.visitor_ids)}.")
    click.echo(f"Remaining rows: {done.left}. Time: {done.seconds:.1f} s.")
    for backup in done.backups:
        click.echo(f"The backup {backup.name} contains the person until {backup.expires_at:%Y-%m-%d}.")


def _as_json(found: Search) -> dict[str, Any]:
    return {
        "site_id": found.site_id,
        "identifier": found.identifier,
        "persons": found.persons,
        "held": found.held,
    }


COMMANDS = (user,)
