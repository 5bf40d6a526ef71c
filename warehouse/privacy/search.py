"""Find the persons who match an identifier, with their visitor IDs and the number of stored rows."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from warehouse.kit.errors import UserError
from warehouse.kit.progress import Say, silent
from warehouse.kit.queries import read_query
from warehouse.kit.settings import Settings
from warehouse.privacy.access import all_places, count_rows, session
from warehouse.privacy.catalogue import columns_of
from warehouse.privacy.erase import unfinished
from warehouse.privacy.files import ColdFiles, SpoolFile
from warehouse.privacy.identifier import Identifier
from warehouse.privacy.person import ANONYMOUS, MANY_VISITORS, SQL_DIR, Person, event_keys, find_person
from warehouse.sites.registry import find_site

MAX_PERSONS = 50
"""Maximum number of persons. A shop may enter one placeholder address for all customers without an address."""

_LINKED: LiteralString = """
    select distinct user_id from intermediate.int_visitor_links where site_id = %(site)s and link = any(%(links)s)
"""
_MODELLED: LiteralString = """
    select user_id, person_id::text from marts.visitors
    where site_id = %s and user_id = any(%s) and person_id is not null
"""


class NobodyError(UserError):
    """No place holds data of a person with this identifier."""


class SeveralPersonsError(UserError):
    """Several persons match the identifier, but only one is allowed."""


@dataclass
class FoundPerson:
    """A person in the search result, described so that an operator can recognize the person.

    Attributes:
        visitor_ids: The person's visitor IDs; for visits without a visitor ID, `anonymous:` and a session or event ID.
        first_seen_at: `created_at` of the oldest event; None without events.
        last_seen_at: `created_at` of the newest event; None without events.
        events: Number of live, archived, cold and spooled events.
        orders: Number of purchases with different order numbers.
    """

    visitor_ids: list[str]
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    events: int = 0
    orders: int = 0


@dataclass(frozen=True)
class Search:
    """Result of a search.

    Attributes:
        site_id: The site.
        identifier: Name of the kind of identifier, without its value.
        persons: The persons who match; at least one.
        held: Number of rows by place, for all these persons together.
        everybody: All IDs that lead to their rows.
    """

    site_id: str
    identifier: str
    persons: list[FoundPerson]
    held: dict[str, int]
    everybody: Person = field(repr=False)

    def require_one(self, remedy: str) -> None:
        """Check that only one person was found.

        Raises:
            SeveralPersonsError: Several persons were found.
        """
        if len(self.persons) > 1:
            raise SeveralPersonsError(
                f"{len(self.persons)} persons on {self.site_id} have this {self.identifier}.", remedy
            )


def search(url: str, settings: Settings, site_id: str, identifier: Identifier, *, say: Say = silent) -> Search:
    """Find the persons of a site who match an identifier.

    The search covers live and archived events, cold files, the spool, the models and interrupted erasures. Rejected
    events are counted only if they contain a visitor ID, an external ID or a hash. Visitors with the same
    `marts.visitors.person_id` are one person. Visitors that the models do not contain yet are joined with other
    visitors who share the identifier, unless more than `MANY_VISITORS` share it, or it is an order number, which a shop
    may reuse.

    Args:
        url: Database URL without a transaction pooler, with the owner's login or the login `tilda_privacy`.
        settings: Settings with the location of spool and cold files.
        site_id: The site.
        identifier: Identifier of the person.
        say: Called with a description of each step.

    Raises:
        NobodyError: No data matches the identifier.
        SeveralPersonsError: More than `MAX_PERSONS` persons match.
        UserError: The site does not exist, or a place cannot be read.
    """
    with session(url) as connection:
        find_site(connection, site_id)
        say("Looking for the person")
        if identifier.kind == "visitor":
            visitors = {identifier.value}
        else:
            visitors = _visitors(connection, settings, site_id, identifier, say)
        known = Person(site_id, frozenset(visitors), identities=identifier.identities)
        begun = unfinished(connection, known)
        if begun is not None:
            known |= begun[1]
        groups = _persons(connection, identifier, known, begun[1].visitor_ids if begun else frozenset())
        if len(groups) > MAX_PERSONS:
            raise SeveralPersonsError(
                f"{len(groups):,} persons on {site_id} have this {identifier.name}, so it does not identify a person.",
                "Use another identifier.",
            )
        people = [find_person(connection, one) for one in groups]
        everybody = functools.reduce(Person.__or__, people, known)
        say("Counting rows")
        held = count_rows(connection, all_places(connection, settings), everybody)
        if not any(held.values()) and begun is None:
            raise NobodyError(
                f"Nobody on {site_id} has this {identifier.name}.",
                "Check the spelling and the site; `tilda user find --help` lists the places that are searched.",
            )
        found = _describe(connection, settings, people)
    return Search(site_id, identifier.name, found, held, everybody)


def _visitors(
    connection: psycopg.Connection, settings: Settings, site_id: str, identifier: Identifier, say: Say
) -> set[str]:
    """Return the visitors with an event that contains the identifier."""
    fragments = identifier.fragments
    values = {"site": site_id, "fragments": [Jsonb(one) for one in fragments], "links": identifier.links}
    found: set[str] = set()
    with connection.cursor(row_factory=scalar_row) as cursor:
        found.update(cursor.execute(read_query(SQL_DIR, "live_visitors"), values))
        say("Reading archived events")
        with connection.transaction():
            cursor.execute("set local enable_seqscan = on")
            found.update(cursor.execute(read_query(SQL_DIR, "archived_visitors"), values))
        if columns_of(connection, "intermediate", "int_visitor_links"):
            found.update(cursor.execute(_LINKED, values))
    say("Reading cold files and the spool")
    for event in ColdFiles(settings.cold_storage).containing(connection, site_id, fragments):
        found.add(_visitor_of(event))
    for event in SpoolFile(settings).containing(site_id, fragments):
        found.add(_visitor_of(event))
    return found


def _visitor_of(event: dict[str, Any]) -> str:
    return event.get("user_id") or f"{ANONYMOUS}{event.get('session_id') or event['event_id']}"


def _persons(
    connection: psycopg.Connection, identifier: Identifier, known: Person, being_erased: frozenset[str]
) -> list[Person]:
    """Group the visitors by person. Visits without a visitor ID are added to the person if there is only one.

    `being_erased` are the visitors of an interrupted erasure. They are one person, even if the models no longer contain
    them.
    """
    person_of = _modelled(connection, known)
    if being_erased:
        # prefer a real visitor ID
        first = min(being_erased, key=lambda one: (one.startswith(ANONYMOUS), one))
        person_of |= dict.fromkeys(being_erased, person_of.get(first, first))
    unknown = {one for one in known.visitor_ids - person_of.keys() if not one.startswith(ANONYMOUS)}
    are_one = identifier.is_personal and len(unknown) <= MANY_VISITORS
    named: dict[str, set[str]] = defaultdict(set)
    unnamed: set[str] = set()
    for visitor in known.visitor_ids:
        person = person_of.get(visitor, visitor)
        if person.startswith(ANONYMOUS):
            unnamed.add(visitor)
        elif visitor in person_of or not are_one:
            named[person].add(visitor)
    groups = list(named.values())
    if are_one and unknown:
        groups = [unknown | groups[0]] if len(groups) == 1 else [*groups, unknown]
    if unnamed or not groups:
        groups = [unnamed | groups[0]] if len(groups) == 1 else [*groups, unnamed]
    people = [Person(known.site_id, frozenset(group)) for group in groups]
    if len(people) == 1:
        return [known | people[0]]
    return sorted(people, key=lambda one: sorted(one.visitor_ids))


def _modelled(connection: psycopg.Connection, known: Person) -> dict[str, str]:
    """Return the models' person ID by visitor ID, for visitors that the models contain."""
    if "person_id" not in columns_of(connection, "marts", "visitors"):
        return {}
    return dict(connection.execute(_MODELLED, [known.site_id, sorted(known.visitor_ids)]).fetchall())


def _describe(connection: psycopg.Connection, settings: Settings, people: Sequence[Person]) -> list[FoundPerson]:
    found = [FoundPerson(sorted(person.visitor_ids)) for person in people]
    orders: list[set[str]] = [set() for _ in people]
    for person, one, bought in zip(people, found, orders, strict=True):
        keys = [key for table in ("live_events", "archived_events") for key in event_keys(connection, table, person)]
        row = connection.execute(
            read_query(SQL_DIR, "describe_events"),
            {"site": person.site_id, "times": [at for at, _ in keys], "event_ids": [event_id for _, event_id in keys]},
        ).fetchone()
        assert row is not None
        one.events = len(keys)
        one.first_seen_at, one.last_seen_at = row[0], row[1]
        bought.update(row[2] or ())
        _add(one, bought, SpoolFile(settings).read(connection, person))
    for owners, event in ColdFiles(settings.cold_storage).read_each(connection, people):
        for place in owners:
            _add(found[place], orders[place], [event])
    for one, bought in zip(found, orders, strict=True):
        one.orders = len(bought)
    return found


def _add(person: FoundPerson, orders: set[str], events: Iterable[dict[str, Any]]) -> None:
    """Add events from outside the database to the counts and times."""
    for event in events:
        person.events += 1
        at = event.get("created_at") or event.get("client_created_at") or event.get("arrived_at")
        if at is not None:
            moment = datetime.fromisoformat(at)
            person.first_seen_at = min(person.first_seen_at or moment, moment)
            person.last_seen_at = max(person.last_seen_at or moment, moment)
        if event.get("event_type") == "purchase":
            payload = event.get("payload") or {}
            orders.add(_order_of(json.loads(payload) if isinstance(payload, str) else payload) or event["event_id"])


def _order_of(payload: dict[str, Any]) -> str | None:
    for section, name in (("order", "id"), ("form", "tranid")):
        part = payload.get(section)
        if isinstance(part, dict) and part.get(name) is not None:
            return str(part[name])
    return None
