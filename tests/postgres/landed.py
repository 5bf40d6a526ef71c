"""Build rows to land, and query the tables afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg

from warehouse.events.landing import EventKey
from warehouse.events.schema import Row

SITE = "shop"
T = TypeVar("T")


def now() -> datetime:
    return datetime.now(UTC)


def event(event_id: UUID | None = None, at: datetime | None = None, **fields: Any) -> Row:
    """Return a page view with the client time `at`; None leaves the event without a client time."""
    defaults: dict[str, Any] = {"site_id": SITE, "source": "api", "event_type": "page_view", "client_created_at": at}
    return Row(event_id=event_id or uuid4(), **defaults | fields)


def landed_ids(new: Counter[EventKey]) -> set[UUID]:
    """Return the event IDs in the result of `land`."""
    return {event_id for _, event_id in new}


def stored(connection: psycopg.Connection, event_id: UUID | None = None) -> list[tuple[Any, ...]]:
    """Return `event_id, created_at, client_created_at, received_at` of all events, or of one event."""
    return connection.execute(
        """
        select event_id, created_at, client_created_at, received_at from public.events
        where %(id)s::uuid is null or event_id = %(id)s order by created_at, event_id
        """,
        {"id": event_id},
    ).fetchall()


def count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    assert row is not None
    return row[0]


def counters(connection: psycopg.Connection) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the users and sessions that the trigger on public.events maintains."""
    users = connection.execute(
        "select site_id, user_id, first_seen_at, last_seen_at, event_count from public.users order by 1, 2"
    ).fetchall()
    sessions = connection.execute(
        """
        select
            site_id, session_id, user_id, started_at, last_seen_at, event_count, landing_page, referrer, utm_source,
            utm_medium, utm_campaign, utm_term, utm_content, device_type, browser, os, is_bot
        from public.sessions order by 1, 2
        """
    ).fetchall()
    return users, sessions


def at_once(*work: Callable[[], T]) -> list[T]:
    """Run functions concurrently and return their results."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(function) for function in work]]


def ago(**parts: float) -> datetime:
    return now() - timedelta(**parts)
