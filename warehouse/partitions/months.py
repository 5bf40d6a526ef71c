"""Monthly partitions of events: creates and lists them, with SQL functions of the schema `ops`."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row

from warehouse.kit.database import connect
from warehouse.kit.errors import UserError

MONTH_IS_ARCHIVED = "TA001"
"""SQLSTATE of `ops.make_month` for a month that is archived or cold."""
BUSY = "TA002"
"""SQLSTATE of `ops.lock_briefly` if long transactions keep the tables of events busy."""

_PARTITIONS: LiteralString = """
    select
        n.nspname as schema,
        c.relname as name,
        to_date(substring(c.relname from '^events_(\\d{4}_\\d{2})$'), 'YYYY_MM') as month,
        case
            when n.nspname = 'archive' then 'archive' when c.relname = 'events_default' then 'default' else 'live'
        end as place,
        c.reltuples::bigint as rows,
        pg_table_size(c.oid) as bytes,
        pg_indexes_size(c.oid) as index_bytes,
        null::timestamptz as oldest,
        null::timestamptz as newest
    from pg_inherits as i
    inner join pg_class as c on c.oid = i.inhrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    where i.inhparent in ('public.events'::regclass, 'archive.events'::regclass) and c.relkind = 'r'
    union all
    select null, null, month, 'cold', row_count, byte_count, 0, oldest, newest
    from archive.cold_files
    where dropped_at is not null
    order by month nulls last
"""


# Two index scans for each site: the unique index of events begins with the site and created_at. The sites are found in
# the index as well, one scan each, because a closed site has events too.
_TIMES: LiteralString = """
    with recursive sites as (
        (select site_id from {table} order by site_id limit 1)
        union all
        select (select e.site_id from {table} as e where e.site_id > s.site_id order by e.site_id limit 1)
        from sites as s
        where s.site_id is not null
    )

    select min(first.created_at), max(last.created_at)
    from sites as s
    cross join lateral (
        select e.created_at from {table} as e where e.site_id = s.site_id order by e.created_at limit 1
    ) as first
    cross join lateral (
        select e.created_at from {table} as e where e.site_id = s.site_id order by e.created_at desc limit 1
    ) as last
"""


class MonthIsAwayError(UserError):
    """The month is archived or cold."""


@dataclass(frozen=True)
class Partition:
    """A month of events, in any storage.

    Attributes:
        month: First day of the month (UTC); None for the default partition.
        place: `live`, `archive`, `cold` (a file outside Postgres), or `default`.
        rows: Number of rows: Postgres's estimate, but exact for a cold month and a table without statistics.
        bytes: Size of the table without its indexes, or of the cold file.
        index_bytes: Size of the indexes.
        oldest: Minimum of `created_at`; None if the month is empty.
        newest: Maximum of `created_at`.
    """

    month: date | None
    place: str
    rows: int
    bytes: int
    index_bytes: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class _Found(Partition):
    schema: str | None
    name: str | None


def ensure(url: str, months_ahead: int = 3) -> list[date]:
    """Create partitions for the current month, the next ones, and each month with rows in the default partition.

    Each partition is created in a separate transaction, to hold locks only briefly. Rows of an archived or cold month
    stay in the default partition until the month is restored.

    Returns:
        First days of the months whose partitions were created.

    Raises:
        UserError: Long queries keep the tables busy.
    """
    made: list[date] = []
    with connect(url) as connection:
        for (month,) in connection.execute("select * from ops.wanted_months(%s)", [months_ahead]).fetchall():
            with suppress(MonthIsAwayError):
                made += _make(connection, "select ops.make_month(%s)", month)
    return made


def ensure_months(connection: psycopg.Connection, months: Iterable[date]) -> list[date]:
    """Create the partitions for an import of these days' months, and record that the months receive imports.

    In autocommit mode, each month is a separate transaction.

    Returns:
        First days of the months whose partitions were created.

    Raises:
        MonthIsAwayError: A month is archived or cold.
        UserError: Long queries keep the tables busy.
    """
    made: list[date] = []
    for month in sorted({day.replace(day=1) for day in months}):
        made += _make(connection, "select ops.open_month(%s)", month)
    return made


def waiting(url: str) -> dict[date, int]:
    """Count the events in the default partition, by month; `tilda restore` of an archived month moves them to it."""
    with connect(url) as connection:
        rows = connection.execute(
            """
            select date_trunc('month', created_at at time zone 'UTC')::date, count(*)
            from public.events_default group by 1 order by 1
            """
        )
        return dict(rows.fetchall())


def list_partitions(url: str) -> list[Partition]:
    """Return all months of events, oldest first, and the default partition last."""
    with connect(url) as connection:
        with connection.cursor(row_factory=class_row(_Found)) as cursor:
            found = cursor.execute(_PARTITIONS).fetchall()
        return [_with_times(connection, partition) for partition in found]


def unavailable_months(connection: psycopg.Connection, months: Iterable[date]) -> list[date]:
    """Return those of the months that are archived or cold and therefore accept no import."""
    wanted = sorted({day.replace(day=1) for day in months})
    rows = connection.execute(
        """
        select m
        from unnest(%s::date[]) as m
        where
            to_regclass(format('public.events_%%s', to_char(m, 'YYYY_MM'))) is null
            and (
                to_regclass(format('archive.events_%%s', to_char(m, 'YYYY_MM'))) is not null
                or exists (select from archive.cold_files as f where f.month = m and f.dropped_at is not null)
            )
        order by m
        """,
        [wanted],
    )
    return [row[0] for row in rows]


def _with_times(connection: psycopg.Connection, found: _Found) -> Partition:
    rows, oldest, newest = found.rows, found.oldest, found.newest
    if found.name is not None and found.schema is not None:
        table = sql.Identifier(found.schema, found.name)
        row = connection.execute(sql.SQL(_TIMES).format(table=table)).fetchone()
        oldest, newest = row or (None, None)
        if rows < 0:
            row = connection.execute(sql.SQL("select count(*) from {}").format(table)).fetchone()
            rows = row[0] if row else 0
    return Partition(found.month, found.place, rows, found.bytes, found.index_bytes, oldest, newest)


def _make(connection: psycopg.Connection, statement: LiteralString, month: date) -> list[date]:
    with busy_explained():
        try:
            row = connection.execute(statement, [month]).fetchone()
        except errors.Error as error:
            if error.sqlstate != MONTH_IS_ARCHIVED:
                raise
            raise MonthIsAwayError(
                error.diag.message_primary or "The month is archived.", f"{error.diag.message_hint}."
            ) from error
    return [month] if row is not None and row[0] else []


@contextmanager
def busy_explained() -> Generator[None]:
    """Convert the error `BUSY` into a UserError with its remedy."""
    try:
        yield
    except errors.Error as error:
        if error.sqlstate != BUSY:
            raise
        raise UserError(
            error.diag.message_primary or "The tables of events are busy.", f"{error.diag.message_hint}."
        ) from error
