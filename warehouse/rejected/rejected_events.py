"""Rejected events: lists them for the operator, and replays them.

A replay validates and stores each rejected event again with the current rules. An event that passes is removed from
`rejected_events`; one that fails stays. A replay can be repeated after an interruption, because event IDs prevent
duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row

from warehouse.events.enrichment import make_row
from warehouse.events.event_file import SOURCE as IMPORTED
from warehouse.events.event_file import EventFile
from warehouse.events.landing import DATA_ERRORS, IMPORT, LAND, REFUSED_BY_DATABASE, land_or_raise
from warehouse.events.schema import Limits, Row
from warehouse.events.validation import MAX_REJECTED_BODY, InvalidEventError, parse_event
from warehouse.partitions.months import ensure_months, unavailable_months

BATCH = 500


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row of `rejected_events`."""

    id: int
    site_id: str
    event_id: str | None
    code: str
    detail: str
    body: str | None
    source: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects rejected events; a field that is None matches all."""

    site_id: str | None = None
    code: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay.

    Attributes:
        landed: Number of rejected events that are stored as events now.
        known: Number of rejected events whose event was already stored; they are removed from `rejected_events`.
        still: Number of events that were rejected again and stay, by their current code.
    """

    landed: int
    known: int
    still: dict[str, int]


_SELECT: LiteralString = (
    "select id, site_id, event_id, code, detail, body, source, received_at from public.rejected_events"
)
_WHERE: LiteralString = """
    (%(site_id)s::text is null or site_id = %(site_id)s)
    and (%(code)s::text is null or code = %(code)s)
    and (%(since)s::timestamptz is null or received_at >= %(since)s)
"""


def count_rejected(connection: psycopg.Connection, wanted: Filter) -> list[tuple[str, str, int, datetime]]:
    """Return the count and the newest time of rejected events, by site and code."""
    return connection.execute(
        f"select site_id, code, count(*), max(received_at) from public.rejected_events where {_WHERE}"  # noqa: S608
        " group by 1, 2 order by 3 desc, 1, 2",
        _values(wanted),
    ).fetchall()


def list_rejected(connection: psycopg.Connection, wanted: Filter, most: int = 50) -> list[RejectedRow]:
    """Return the newest rejected events, newest first."""
    with connection.cursor(row_factory=class_row(RejectedRow)) as cursor:
        return cursor.execute(
            f"{_SELECT} where {_WHERE} order by received_at desc, id desc limit %(most)s",
            _values(wanted) | {"most": most},
        ).fetchall()


def replay_rejected(connection: psycopg.Connection, wanted: Filter, limits: Limits | None = None) -> Replay:
    """Replay rejected events, oldest first.

    A replayed event keeps the time of its rejection as `received_at`; an imported event keeps its own times. The event
    has no IP address and user agent, because they are not stored with a rejected event. An event whose body was
    truncated cannot be replayed.

    Args:
        connection: In autocommit mode, with the owner's privileges.
        wanted: Selects rejected events.
        limits: Current limits for an event; None for the defaults.

    Raises:
        psycopg.Error: Postgres failed; events replayed before that stay stored.
    """
    landed = known = 0
    still: Counter[str] = Counter()
    for rejected in _each(connection, wanted):
        outcome = _replay_one(connection, rejected, limits or Limits())
        if isinstance(outcome, str):
            still[outcome] += 1
        else:
            landed, known = landed + outcome, known + (not outcome)
    return Replay(landed, known, dict(still))


def _replay_one(connection: psycopg.Connection, rejected: RejectedRow, limits: Limits) -> bool | str:
    """Replay one event. Return True if it is new, False if it was already stored, else its current rejection code."""
    text = rejected.body or ""
    if len(text) >= MAX_REJECTED_BODY:
        return "body_was_shortened"
    if rejected.source == IMPORTED:
        outcome = _import(connection, text.encode(), EventFile(rejected.site_id, limits))
    else:
        outcome = _land(connection, text.encode(), rejected, limits)
    if isinstance(outcome, bool):
        connection.execute("delete from public.rejected_events where id = %s", [rejected.id])
    return outcome


def _land(connection: psycopg.Connection, text: bytes, rejected: RejectedRow, limits: Limits) -> bool | str:
    try:
        event = parse_event(text, limits)
    except InvalidEventError as error:
        return error.code
    row = make_row(event, site_id=rejected.site_id, source=rejected.source, address=None, user_agent=None)
    row.arrived_at = rejected.received_at
    return _outcome(connection, row, LAND)


def _import(connection: psycopg.Connection, text: bytes, reader: EventFile) -> bool | str:
    """Store a line of an import; the event keeps its own time."""
    row = reader.row(text)
    if row.reject_code is not None:
        return row.reject_code
    month = row.client_created_at or row.arrived_at
    assert month is not None
    if unavailable_months(connection, [month.astimezone(UTC).date()]):
        return "month_is_archived"
    ensure_months(connection, [month.astimezone(UTC).date()])
    return _outcome(connection, row, IMPORT)


def _outcome(connection: psycopg.Connection, row: Row, statement: LiteralString) -> bool | str:
    """Store a row. Return True if it is new, False if it was already stored, a code if Postgres refuses it."""
    try:
        return bool(land_or_raise(connection, [row], statement))
    except DATA_ERRORS:
        return REFUSED_BY_DATABASE


def _each(connection: psycopg.Connection, wanted: Filter) -> Iterator[RejectedRow]:
    """Yield the rejected events that exist at the start of the replay, oldest first."""
    row = connection.execute("select coalesce(max(id), 0) from public.rejected_events").fetchone()
    newest, after = row[0] if row else 0, 0
    while True:
        with connection.cursor(row_factory=class_row(RejectedRow)) as cursor:
            rows = cursor.execute(
                f"{_SELECT} where id > %(after)s and id <= %(newest)s and {_WHERE} order by id limit %(batch)s",
                _values(wanted) | {"after": after, "newest": newest, "batch": BATCH},
            ).fetchall()
        if not rows:
            return
        yield from rows
        after = rows[-1].id


def _values(wanted: Filter) -> dict[str, Any]:
    return {"site_id": wanted.site_id, "code": wanted.code, "since": wanted.since}
