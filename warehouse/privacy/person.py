"""A person: the joined visitor IDs, and all other IDs that lead to the person's rows."""

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
"""Prefix of the models' ID for a visitor without an ID; the session ID follows, or without a session the event ID."""

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
"""An identity that more visitors share does not identify a person. Equals the dbt variable
`identifier_visitor_bound`."""


@dataclass(frozen=True)
class Person:
    """All IDs that lead to a person's rows. During a search or an erasure, IDs are only added.

    Attributes:
        site_id: The site. The same visitor ID on another site is another person.
        visitor_ids: First-party visitor IDs.
        unnamed: The models' IDs for the person's visits without a visitor ID: `anonymous:` and a session or event ID.
        person_ids: The models' person IDs.
        own_sessions: Sessions whose first visitor ID is the person's. Events without a visitor ID are the person's.
        shared_sessions: Sessions whose first visitor ID is another visitor's.
        modelled_sessions: Session IDs that the models assigned.
        identities: Names and values of `payload.identity` in the person's events: external IDs, hashes of e-mail
            addresses and telephone numbers. Events without a visitor ID that contain one of them are the person's.
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
        """Return the JSON form for `ops.erasures`."""
        return Jsonb({name: sorted(values, key=str) for name, values in self._sets().items()})

    @classmethod
    def from_json(cls, site_id: str, stored: dict[str, list[Any]]) -> Self:
        """Create a person from the result of `as_json`."""
        sets = {name: frozenset(map(_hashable, values)) for name, values in stored.items()}
        return cls(site_id, **sets)

    @property
    def values(self) -> dict[str, Any]:
        """Return the parameters of queries for the person's rows."""
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
    """Find all IDs that lead to a person's rows, from the IDs that are known.

    Visitor IDs are joined by `marts.visitors.person_id`. A visitor that the models do not contain is not joined.
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
    """Return `(created_at, event_id)` of a person's events, sorted."""
    return sorted(connection.execute(read_query(SQL_DIR, query), person.values).fetchall())


def _ids_in(names: frozenset[str]) -> list[str]:
    """Return the session and event IDs in `anonymous:` IDs."""
    found: list[str] = []
    for name in sorted(names):
        if name.startswith(ANONYMOUS):
            try:
                found.append(str(uuid.UUID(name.removeprefix(ANONYMOUS))))
            except ValueError:
                continue
    return found


def _hashable(value: Any) -> Any:  # noqa: ANN401 - a string, or a pair that JSON stores as a list
    return tuple(value) if isinstance(value, list) else value
