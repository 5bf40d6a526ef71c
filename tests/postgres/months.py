"""Fill months with hostile events and inspect them in every storage tier: live, archive and cold file."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from tests.postgres.landed import event
from warehouse.archive import runs
from warehouse.archive.months import Ages
from warehouse.events.landing import IMPORT, land
from warehouse.events.schema import Row
from warehouse.kit.database import connect
from warehouse.partitions.months import ensure_months

JANUARY = date(2020, 1, 1)
FEBRUARY = date(2020, 2, 1)
AGES = Ages(archive_after=6, cold_after=12)
# On ARCHIVED, a month of early 2020 is due for the archive; on COLD, for a cold file.
ARCHIVED = datetime(2020, 12, 1, tzinfo=UTC)
COLD = datetime(2022, 1, 1, tzinfo=UTC)

TEXTS = [
    None, "", " ", '"', '""', "\\", "\\N", "(a,b)", "a,b", "line\nbreak\r\n\ttab\v", "привет 🛒",
    "'", "{}", "null", "x" * 900,
]  # fmt: skip
PAYLOADS: list[dict[str, Any] | None] = [
    None,
    {},
    {"n": 1e300, "m": -0.1, "big": 12345678901234567890, "deep": {"a": [1, None, True, {"b": []}]}},
    {"text": 'quote " backslash \\ newline \n tab \t ünïcödé \u2028 "'},
    {"": "", " ": " ", "a,b": "(c)"},
]


def hostile_events(month: date, number: int = 60) -> list[Row]:
    """Return events of a month with values that are hard to serialise. The IDs are the same at each call."""
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    rows: list[Row] = []
    for n in range(number):
        text = TEXTS[n % len(TEXTS)]
        rows.append(
            event(
                UUID(int=(month.year * 100 + month.month) << 64 | n),
                # Times near both ends of the month, with and without fractions of a second.
                start + (timedelta(days=28, hours=23) if n == 1 else timedelta(seconds=n, microseconds=n % 3 * 1010)),
                session_id=UUID(int=n % 7) if n % 5 else None,
                visit_id=UUID(int=n % 11) if n % 3 else None,
                tab_id=UUID(int=n % 13) if n % 4 else None,
                user_id=f"user-{n % 4}" if n % 6 else None,
                page_title=text,
                target_text=text,
                referrer=text,
                user_agent=TEXTS[(n + 3) % len(TEXTS)],
                is_bot=n % 9 == 0,
                ip_address=[None, "203.0.113.0/24", "2001:db8::/48"][n % 3],
                payload=PAYLOADS[n % len(PAYLOADS)],
            )
        )
    return rows


def fill(url: str, *months: date, number: int = 60) -> None:
    """Import hostile events into each month and backdate the import to the month."""
    with connect(url) as connection:
        ensure_months(connection, months)
        for month in months:
            assert len(land(connection, hostile_events(month, number), IMPORT)) == number
        connection.execute("update ops.months set imported_at = month")


def contents(connection: psycopg.Connection, table: str = "archive.all_events") -> list[tuple[Any, ...]]:
    """Return all columns of all rows in the order of time and ID."""
    return connection.execute(f"select * from {table} order by created_at, event_id").fetchall()


def indexes(connection: psycopg.Connection, table: str) -> set[str]:
    """Return the definitions of a table's indexes without their names."""
    found = connection.execute(
        "select ops.index_shape(indexrelid) from pg_index where indrelid = %s::regclass", [table]
    ).fetchall()
    assert len(found) == len(set(found)), "two indexes have the same definition"
    return {shape for (shape,) in found}


def places(connection: psycopg.Connection) -> dict[str, str]:
    """Return the storage tier of each month of 2020: a schema name or `cold`."""
    found = connection.execute(
        """
        select right(c.relname, 7), n.nspname from pg_inherits as i
        inner join pg_class as c on c.oid = i.inhrelid and c.relname like 'events_2020%'
        inner join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind = 'r'
        union all
        select to_char(month, 'YYYY_MM'), 'cold' from archive.cold_files
        """
    ).fetchall()
    assert len(found) == len(dict(found)), "a month is in two storage tiers"
    return dict(found)


def run(url: str, folder: str, as_of: datetime) -> list[runs.Step]:
    return runs.run(url, AGES, folder, as_of)
