"""Counts of stored events, at a cost that does not grow with the number of events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg

EXACT_BYTES = 64 * 2**20
"""Size of the tables up to which rows are counted: about 100,000 events, some 20 ms."""
NEWEST = 200
"""The last arrival is searched for among this many rows of each site, those with the newest created_at."""

_SIZE: LiteralString = (
    "select coalesce(sum(pg_relation_size(relid)), 0)::bigint from pg_partition_tree('public.events') where isleaf"
)
# The unique index begins with the site and created_at: each site costs one short scan of it.
_LAST: LiteralString = """
    select max(newest.received_at)
    from public.sites
    cross join lateral (
        select events.received_at
        from public.events
        where events.site_id = sites.site_id
        order by events.created_at desc
        limit %s
    ) as newest
"""


@dataclass(frozen=True)
class EventCount:
    """Events under `public.events`.

    Attributes:
        events: Number of events.
        is_estimate: True if `events` is the planner's estimate, from autovacuum's statistics.
        last_event_at: Time when the last event was received. A late event may be missed.
    """

    events: int
    is_estimate: bool
    last_event_at: datetime | None


def has_events(connection: psycopg.Connection) -> bool:
    """Return whether Postgres holds a live event."""
    return connection.execute("select from public.events limit 1").fetchone() is not None


def count_events(connection: psycopg.Connection, exact_bytes: int = EXACT_BYTES) -> EventCount:
    """Count the live events.

    Args:
        connection: A connection with the owner's login.
        exact_bytes: Total size of the tables up to which events are counted exactly.
    """
    size = connection.execute(_SIZE).fetchone()
    is_estimate = size is not None and size[0] > exact_bytes
    if is_estimate:
        row = connection.execute("explain (format json) select from public.events").fetchone()
        events = int(row[0][0]["Plan"]["Plan Rows"]) if row else 0
    else:
        row = connection.execute("select count(*) from public.events").fetchone()
        events = row[0] if row else 0
    last = connection.execute(_LAST, [NEWEST]).fetchone()
    return EventCount(events, is_estimate, last[0] if last else None)
