"""Find the months of events that are old enough to be archived or written to cold storage."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, LiteralString

import psycopg
from psycopg import sql

Action = Literal["archive", "cold"]

_MONTHS: LiteralString = """
    with places as (
        select
            to_date(substring(c.relname from '^events_(\\d{4}_\\d{2})$'), 'YYYY_MM') as month,
            case when c.relnamespace = 'archive'::regnamespace then 'archive' else 'live' end as place
        from pg_inherits as i
        inner join pg_class as c on c.oid = i.inhrelid
        where
            i.inhparent in ('public.events'::regclass, 'archive.events'::regclass) and c.relkind = 'r'
            and c.relname ~ '^events_\\d{4}_\\d{2}$'
    )

    select
        p.month,
        p.place,
        greatest(
            (p.month + interval '1 month')::timestamp at time zone 'UTC', m.imported_at, m.restored_at
        ) as quiet_since,
        -- live events may be 35 days old when they arrive, so their months must stay, whatever the ages are
        (p.month + interval '1 month')::timestamp at time zone 'UTC' + interval '35 days' <= now() as is_over
    from places as p
    left join ops.months as m on m.month = p.month
    where %(month)s::date is null or p.month = %(month)s
    order by p.month
"""


@dataclass(frozen=True)
class Ages:
    """Ages at which a month is moved.

    Attributes:
        archive_after: Age in months at which a month moves from `public.events` to `archive.events`.
        cold_after: Age in months at which a month moves to a file. A month is always archived first.
    """

    archive_after: int
    cold_after: int


@dataclass(frozen=True)
class Step:
    """One move of one month.

    Attributes:
        month: First day of the month.
        action: `archive`: from `public.events` to `archive.events`; `cold`: from `archive.events` to a file.
        rows: Number of events.
    """

    month: date
    action: Action
    rows: int


def plan(connection: psycopg.Connection, ages: Ages, as_of: datetime) -> list[Step]:
    """Return all steps that are due at `as_of`, in order of execution: oldest month first.

    A month that can still receive live events is never due, even if `as_of` is in the future.
    """
    steps: list[Step] = []
    for month, place, quiet_since, is_over in connection.execute(_MONTHS, {"month": None}).fetchall():
        actions = _due(place, quiet_since, ages, as_of) if is_over else []
        if actions:
            rows = count_rows(connection, "public" if place == "live" else "archive", table_name(month))
            steps += [Step(month, action, rows) for action in actions]
    return steps


def is_due(connection: psycopg.Connection, month: date, action: Action, ages: Ages, as_of: datetime) -> bool:
    """Return whether a month is still due. Checked again before each move: an import may have begun after the plan."""
    found = connection.execute(_MONTHS, {"month": month}).fetchone()
    if found is None:
        return False
    _, place, quiet_since, is_over = found
    return is_over and action in _due(place, quiet_since, ages, as_of)


def table_name(month: date) -> str:
    """Return the name of a month's table, live or archived."""
    return f"events_{month:%Y_%m}"


def months_after(moment: datetime, count: int) -> datetime:
    """Add `count` months to a time. In a shorter month, use its last day."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


def _due(place: str, quiet_since: datetime, ages: Ages, as_of: datetime) -> list[Action]:
    actions: list[Action] = []
    if place == "live":
        if months_after(quiet_since, ages.archive_after) > as_of:
            return []
        actions.append("archive")
    if months_after(quiet_since, max(ages.archive_after, ages.cold_after)) <= as_of:
        actions.append("cold")
    return actions


def count_rows(connection: psycopg.Connection, schema: str, table: str) -> int:
    """Count the events in a month's table."""
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))).fetchone()
    return row[0] if row else 0
