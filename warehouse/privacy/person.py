"""A person: the visitor ids that belong together, and what else leads to their rows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, LiteralString, Self

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from warehouse.kit.queries import read_query
from warehouse.privacy.catalogue import columns_of

SQL_DIR = Path(__file__).parent / "sql"

ANONYMOUS = "anonymous:"
"""How models name a visitor without an id: this and the session's id, or the event's where there is no session."""

_SAME_PERSON: LiteralString = """
    select others.user_id, others.person_id::text
    from marts.visitors as others
    where
        others.site_id = %(site)s
        and others.person_id in (
            select known.person_id from marts.visitors as known
            where known.site_id = %(site)s and known.user_id = any(%(ids)s)
        )
"""
_OWN_SESSIONS: LiteralString = """
    select session_id::text from public.sessions where site_id = %(site)s and user_id = any(%(ids)s)
"""
_SHARED_SESSIONS: LiteralString = """
    select session_id::text from ops.shared_sessions where site_id = %(site)s and user_id = any(%(ids)s)
"""
_MODELLED_SESSIONS: LiteralString = """
    select session_id::text from marts.sessions where site_id = %(site)s and user_id = any(%(ids)s)
"""
_UNNAMED: LiteralString = """
    select e.event_id::text
    from unnest(%(times)s::timestamptz[], %(event_ids)s::uuid[]) as k (created_at, event_id)
    inner join archive.all_events as e on k.created_at = e.created_at and k.event_id = e.event_id
    where e.site_id = %(site)s and e.user_id is null and e.session_id is null
"""
MANY_VISITORS = 25
"""An identity that more visitors share tells nobody apart: the dbt variable `identifier_visitor_bound`."""


@dataclass(frozen=True)
class Person:
    """Everything that leads to a person's rows. Sets only grow: what was found once stays known until the end.

    Attributes:
        site_id: The site; the same id on another site is somebody else.
        visitor_ids: First-party ids.
        unnamed: What the models call visits of the person without an id: `anonymous:` and the session, or the event.
        person_ids: The models' ids of the person.
        own_sessions: Sessions that began with one of the ids: events in them without an id are the person's, too.
        shared_sessions: Sessions that began as somebody else's.
        modelled_sessions: Ids that the models gave to sessions.
        identities: Names and values under `payload.identity` that the person's events carry: an external id, the hash
            of an e-mail address or of a telephone number. Events without a visitor id that carry one are the person's.
    """

    site_id: str
    visitor_ids: frozenset[str]
    unnamed: frozenset[str] = frozenset()
    person_ids: frozenset[str] = frozenset()
    own_sessions: frozenset[str] = frozenset()
    shared_sessions: frozenset[str] = frozenset()
    modelled_sessions: frozenset[str] = frozenset()
    identities: frozenset[tuple[str, str | int]] = field(default=frozenset())

    def __or__(self, other: Person) -> Person:
        mine, theirs = self._sets(), other._sets()
        return Person(self.site_id, **{name: mine[name] | theirs[name] for name in mine})

    def _sets(self) -> dict[str, frozenset[Any]]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "site_id"}

    def as_json(self) -> Jsonb:
        """For `ops.erasures`, while the erasure is under way."""
        return Jsonb({name: sorted(values, key=str) for name, values in self._sets().items()})

    @classmethod
    def from_json(cls, site_id: str, stored: dict[str, list[Any]]) -> Self:
        """What `as_json` kept."""
        sets = {name: frozenset(map(_hashable, values)) for name, values in stored.items()}
        return cls(site_id, **sets)

    @property
    def values(self) -> dict[str, Any]:
        """Parameters of the queries that look for the person's rows."""
        return {
            "site": self.site_id,
            "ids": sorted(self.visitor_ids | self.unnamed),
            "person_ids": sorted(self.person_ids),
            "own": sorted(self.own_sessions),
            "sessions": sorted(self.own_sessions | self.shared_sessions),
            "all_sessions": sorted(self.own_sessions | self.shared_sessions | self.modelled_sessions),
            "anonymous": _ids_in(self.unnamed | self.visitor_ids),
            "identities": [Jsonb({"identity": {name: value}}) for name, value in sorted(self.identities, key=str)],
            "words": sorted(self.visitor_ids | {str(value) for _, value in self.identities}),
        }


def find_person(connection: psycopg.Connection, known: Person) -> Person:
    """All that leads to the rows of a person of whom one visitor id is known.

    Ids belong together as `marts.visitors.person_id` says; a visitor whom the models have not seen stands alone.
    """
    site, none = known.site_id, frozenset[str]()
    found = known
    if "person_id" in columns_of(connection, "marts", "visitors"):
        for visitor_id, person_id in connection.execute(_SAME_PERSON, found.values).fetchall():
            found |= Person(site, frozenset({visitor_id}), person_ids=frozenset({person_id} - {None}))
    with connection.cursor(row_factory=scalar_row) as cursor:
        own = frozenset([*cursor.execute(_OWN_SESSIONS, found.values), *_ids_in(found.visitor_ids)])
        shared = frozenset(cursor.execute(_SHARED_SESSIONS, found.values).fetchall())
        found |= Person(site, none, own_sessions=own, shared_sessions=shared)
        query = read_query(SQL_DIR, "identities")
        said = connection.execute(query, found.values | {"many": MANY_VISITORS}).fetchall()
        found |= Person(site, none, identities=frozenset(said))
        keys = [key for table in ("live_events", "archived_events") for key in event_keys(connection, table, found)]
        times, event_ids = [at for at, _ in keys], [event_id for _, event_id in keys]
        alone = cursor.execute(_UNNAMED, {"site": site, "times": times, "event_ids": event_ids}).fetchall()
        found |= Person(site, none, unnamed=frozenset(f"{ANONYMOUS}{one}" for one in (*found.own_sessions, *alone)))
        if {"user_id", "session_id"} <= columns_of(connection, "marts", "sessions").keys():
            found |= Person(site, none, modelled_sessions=frozenset(cursor.execute(_MODELLED_SESSIONS, found.values)))
    return found


def event_keys(
    connection: psycopg.Connection, query: Literal["live_events", "archived_events"], person: Person
) -> list[tuple[datetime, uuid.UUID]]:
    """`created_at` and `event_id` of a person's events, in that order."""
    return sorted(connection.execute(read_query(SQL_DIR, query), person.values).fetchall())


def _ids_in(names: frozenset[str]) -> list[str]:
    """The sessions and events in the models' names of visits without an id."""
    found: list[str] = []
    for name in sorted(names):
        if name.startswith(ANONYMOUS):
            try:
                found.append(str(uuid.UUID(name.removeprefix(ANONYMOUS))))
            except ValueError:
                continue
    return found


def _hashable(value: Any) -> Any:  # noqa: ANN401 - a string, or a pair of strings that JSON keeps as a list
    return tuple(value) if isinstance(value, list) else value
