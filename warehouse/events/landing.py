"""Inserts rows into Postgres with one statement per flush; retries deadlocks, and isolates rows that Postgres refuses.

To land rows means to insert them into Postgres and commit.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import LiteralString, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg import errors

from warehouse.events.schema import Event, Row
from warehouse.events.validation import MAX_REJECTED_BODY

LAND: LiteralString = "select site_id, event_id from public.land_events(%s::json)"
IMPORT: LiteralString = "select site_id, event_id from ops.import_events(%s::json)"

EventKey = tuple[str, UUID]
"""`site_id` and `event_id` of an event."""

REFUSED_BY_DATABASE = "refused_by_database"
DEADLOCK_TRIES = 5
DATA_ERRORS = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded, errors.StatementTooComplex)
"""Errors caused by a row's content. All other errors are the server's state, and the caller handles them."""

_EVENT_FIELDS = Event.__struct_fields__
_Result = TypeVar("_Result")

_encode = msgspec.json.Encoder().encode


def land(connection: psycopg.Connection, rows: Sequence[Row], statement: LiteralString = LAND) -> Counter[EventKey]:
    """Land a flush. Return the keys of the new events, each with the number of its new rows.

    Of rows with the same key and time, only the first is stored.

    If Postgres refuses a flush for its data, the flush is halved until the faulty row is alone. That row becomes a
    rejected event in place (its `reject_code` is set) and is stored in `rejected_events`.

    Args:
        connection: In autocommit mode, with the privilege to run `statement`.
        rows: Events and rejected events.
        statement: `LAND` for live events; `IMPORT` for imported events, which keep their times.

    Raises:
        psycopg.OperationalError: The server cannot be reached, or deadlocks persist.
    """
    if not rows:
        return Counter()
    try:
        return land_or_raise(connection, rows, statement)
    except DATA_ERRORS as error:
        if len(rows) == 1:
            _reject(rows[0], error)
            return land_or_raise(connection, rows, statement)
    middle = len(rows) // 2
    return land(connection, rows[:middle], statement) + land(connection, rows[middle:], statement)


def retry_deadlocks(work: Callable[[], _Result]) -> _Result:
    """Return the result of `work`; retry after a deadlock or serialization failure, `DEADLOCK_TRIES` tries in all.

    Raises:
        psycopg.OperationalError: The last try failed too.
    """
    for attempt in range(1, DEADLOCK_TRIES):
        try:
            return work()
        except (errors.DeadlockDetected, errors.SerializationFailure):
            time.sleep(0.01 * attempt)
    return work()


def land_or_raise(connection: psycopg.Connection, rows: Sequence[Row], statement: LiteralString) -> Counter[EventKey]:
    """Land all rows of a flush, or none. Return the keys of the new events, each with the number of its new rows.

    Raises:
        psycopg.Error: One of `DATA_ERRORS` for invalid rows, or another error of the server.
    """
    text = _encode(rows).decode()

    def land_once() -> Counter[EventKey]:
        cursor = connection.execute(statement, [text])
        events = [row for row in rows if row.reject_code is None]
        if cursor.rowcount == len(events):
            # All events are new, as nearly always: reading their keys from the result would cost more than landing one.
            return Counter((row.site_id, row.event_id) for row in events if row.event_id is not None)
        return Counter[EventKey](cursor)

    return retry_deadlocks(land_once)


def take_if_new(row: Row, new: Counter[EventKey]) -> bool:
    """Return True if an event was stored. Decrement its count in `new`, so that a later copy counts as a duplicate.

    Args:
        row: An event. Call this once for each row of the flush, in order.
        new: The result of `land` for the flush.
    """
    if row.event_id is None or not new[key := (row.site_id, row.event_id)]:
        return False
    new[key] -= 1
    return True


def _reject(row: Row, error: psycopg.Error) -> None:
    """Convert a row that Postgres refused into a rejected event, with the event's JSON as text."""
    name = error.diag.constraint_name
    event = {name: getattr(row, "client_created_at" if name == "created_at" else name) for name in _EVENT_FIELDS}
    rejected = Row(
        site_id=row.site_id,
        source=row.source,
        arrived_at=row.arrived_at,
        reject_code=REFUSED_BY_DATABASE,
        reject_detail=f"Constraint {name}." if name else f"{type(error).__name__}.",
        reject_event_id=str(row.event_id) if row.event_id else row.reject_event_id,
        reject_body=_encode(event).decode()[:MAX_REJECTED_BODY],
    )
    for field in Row.__struct_fields__:
        setattr(row, field, getattr(rejected, field))
