"""Puts rows into Postgres: one statement a flush, retried on a deadlock, searched for the row at fault when refused."""

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
"""What a row's own content can be refused for; anything else is the server's trouble, and the caller's to handle."""

_EVENT_FIELDS = Event.__struct_fields__
_Result = TypeVar("_Result")

_encode = msgspec.json.Encoder().encode


def land(connection: psycopg.Connection, rows: Sequence[Row], statement: LiteralString = LAND) -> Counter[EventKey]:
    """Land a flush and commit it. Returns the keys of the events that were new, each with the number of its rows.

    Of rows with one key and one time, the first is stored.

    A flush that is refused for its data is halved until the row at fault stands alone; that one is kept in
    `rejected_events` with the reason. Rows are set (`reject_code`) when that happens.

    Args:
        connection: In autocommit mode, with the right to run `statement`.
        rows: Events and refusals.
        statement: `LAND` for live events, `IMPORT` for imports, which keep their times.

    Raises:
        psycopg.OperationalError: The server is away, or stays in deadlock.
    """
    if not rows:
        return Counter()
    try:
        return land_or_raise(connection, rows, statement)
    except DATA_ERRORS as error:
        if len(rows) == 1:
            _refuse(rows[0], error)
            return land_or_raise(connection, rows, statement)
    middle = len(rows) // 2
    return land(connection, rows[:middle], statement) + land(connection, rows[middle:], statement)


def retry_deadlocks(work: Callable[[], _Result]) -> _Result:
    """What `work` gives, tried again when it meets a deadlock.

    Raises:
        psycopg.OperationalError: It stays in deadlock.
    """
    for attempt in range(1, DEADLOCK_TRIES):
        try:
            return work()
        except (errors.DeadlockDetected, errors.SerializationFailure):
            time.sleep(0.01 * attempt)
    return work()


def land_or_raise(connection: psycopg.Connection, rows: Sequence[Row], statement: LiteralString) -> Counter[EventKey]:
    """Land a flush, all or none, and commit it. Returns what `land` returns.

    Raises:
        psycopg.Error: One of `DATA_ERRORS` for what is in the rows; or the server fails.
    """
    text = _encode(rows).decode()
    return retry_deadlocks(lambda: Counter[EventKey](connection.execute(statement, [text])))


def take_if_new(row: Row, new: Counter[EventKey]) -> bool:
    """Whether an event of a flush was stored; its key is taken out of `new`, so that a later copy is a duplicate.

    Args:
        row: An event. Ask for each one of the flush, in order.
        new: What `land` returned for the flush.
    """
    if row.event_id is None or not new[key := (row.site_id, row.event_id)]:
        return False
    new[key] -= 1
    return True


def _refuse(row: Row, error: psycopg.Error) -> None:
    """Turn a row that Postgres refused into a refusal. Its event stays as text: a column would refuse it again."""
    name = error.diag.constraint_name
    event = {name: getattr(row, "client_created_at" if name == "created_at" else name) for name in _EVENT_FIELDS}
    refusal = Row(
        site_id=row.site_id,
        source=row.source,
        arrived_at=row.arrived_at,
        reject_code=REFUSED_BY_DATABASE,
        reject_detail=f"Constraint {name}." if name else f"{type(error).__name__}.",
        reject_event_id=str(row.event_id) if row.event_id else row.reject_event_id,
        reject_body=_encode(event).decode()[:MAX_REJECTED_BODY],
    )
    for field in Row.__struct_fields__:
        setattr(row, field, getattr(refusal, field))
