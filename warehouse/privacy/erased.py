"""The list of erased visitors, as keyed hashes. The landing functions drop late events of listed visitors."""

from __future__ import annotations

import time
from typing import LiteralString

import psycopg

from warehouse.events.schema import COOKIELESS
from warehouse.kit.errors import UserError
from warehouse.privacy.person import ANONYMOUS, Person

PATIENCE_SECONDS = 300

_LIST: LiteralString = """
    insert into ops.erased_visitors (visitor_hash)
    select ops.visitor_hash(%(site)s, v.user_id, k.inner_key, k.outer_key)
    from unnest(%(ids)s::text[]) as v (user_id)
    cross join ops.erasure_key as k
    order by 1
    on conflict do nothing
"""
_WRITERS: LiteralString = """
    select virtualtransaction from pg_locks
    where
        locktype = 'relation' and mode = 'RowExclusiveLock' and pid <> pg_backend_pid()
        and database = (select oid from pg_database where datname = current_database())
        and relation in (
            'public.events'::regclass, 'public.users'::regclass, 'public.sessions'::regclass,
            'public.rejected_events'::regclass, 'ml.propensity_scores'::regclass
        )
"""
_KNOWN_AND_ERASED: LiteralString = """
    with known as (
        select site_id, user_id from public.users
        union
        select site_id, user_id from public.events where session_id is null and starts_with(user_id, %(cookieless)s)
        union
        select site_id, user_id from archive.events where session_id is null and starts_with(user_id, %(cookieless)s)
        union
        select site_id, %(anonymous)s || session_id from public.sessions where user_id is null
        union
        select site_id, %(anonymous)s || event_id from public.events where user_id is null and session_id is null
        union
        select site_id, %(anonymous)s || event_id from archive.events where user_id is null and session_id is null
    )
    select known.site_id, known.user_id
    from known
    cross join ops.erasure_key as k
    inner join ops.erased_visitors as e
        on e.visitor_hash = ops.visitor_hash(known.site_id, known.user_id, k.inner_key, k.outer_key)
    order by 1, 2
"""


def enlist(connection: psycopg.Connection, person: Person) -> None:
    """Add a person's visitor IDs to the list.

    Synthetic `anonymous:` IDs are added as well, except those of sessions that a visitor ID leads to. No client can
    send such an ID, but a restored backup may bring back an erased event without a visitor ID, which only this ID
    identifies.
    """
    sessions = {f"{ANONYMOUS}{one}" for one in person.own_sessions}
    ids = person.visitor_ids | (person.unnamed - sessions)
    connection.execute(_LIST, {"site": person.site_id, "ids": sorted(ids)})


def returned(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """Return site and visitor ID of listed visitors who are in the database again, after a backup was restored."""
    return connection.execute(_KNOWN_AND_ERASED, {"anonymous": ANONYMOUS, "cookieless": COOKIELESS}).fetchall()


def wait_for_writers(connection: psycopg.Connection, patience: float = PATIENCE_SECONDS) -> None:
    """Wait until all transactions have ended that may not have seen the present list.

    A statement locks its tables before it takes its snapshot, so a statement without a lock will see the list.

    Raises:
        UserError: A writing transaction did not end within `patience` seconds.
    """
    waited_for = {row[0] for row in connection.execute(_WRITERS)}
    give_up = time.monotonic() + patience
    while waited_for:
        time.sleep(0.02)
        waited_for &= {row[0] for row in connection.execute(_WRITERS)}
        if waited_for and time.monotonic() > give_up:
            raise UserError(
                "A transaction has been writing events for minutes, so the erasure cannot be completed safely.",
                "Repeat the command when the transaction has ended; the erasure then continues.",
            )
