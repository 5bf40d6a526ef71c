"""Deletes expired rows: rejected events, refused origins, claims, salts, and visitors and sessions without events.

Each batch covers a range of the table's pages in a separate transaction. Rows locked by another transaction are skipped
and deleted by a later run, so that insertion of events never waits for a deletion.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from warehouse.archive.months import months_after
from warehouse.archive.runs import only_one, table_exists
from warehouse.kit.database import connect
from warehouse.kit.queries import read_query
from warehouse.kit.settings import Settings

PAGES_A_BATCH = 64
"""Pages per batch. 64 pages are 0.5 MB: about 1,500 sessions, 4,000 visitors or 8,000 claims."""
LATEST_CLOCK = timedelta(days=2)
"""An event may be dated up to 25 hours after its arrival, which `updated_at` of its visitor and session records."""

Progress = Callable[[float, float | None], None]


def _no_progress(_done: float, _total: float | None) -> None: ...


@dataclass(frozen=True)
class Expired:
    """Expired rows of one table.

    Attributes:
        table: Schema and name.
        rows: Number of rows that were deleted, or with a dry run would be deleted.
        before: Rows older than this time are expired.
    """

    table: str
    rows: int
    before: datetime


@dataclass(frozen=True)
class _Rule:
    """The rule for expired rows of a table.

    Attributes:
        table: Schema and name.
        condition: SQL condition for an expired row `t`, with the parameter `before`.
        before: Rows older than this time are expired.
        follows_events: True if a row must also stay while Postgres may have an event that belongs to it, because
            erasing a person finds events through sessions.
    """

    table: LiteralString
    condition: LiteralString
    before: datetime
    follows_events: bool = False


_SESSION_IS_OLD: LiteralString = "greatest(s.updated_at, s.started_at, s.last_seen_at) < %(before)s"


def _rules(settings: Settings, now: datetime) -> list[_Rule]:
    refusals = now - timedelta(days=settings.rejected_keep_days)
    sessions = months_after(now, -settings.sessions_keep_months)
    return [
        _Rule("public.rejected_events", "t.received_at < %(before)s", refusals),
        _Rule("ops.refused_origins", "t.day < (%(before)s at time zone 'UTC')::date", refusals),
        # Postgres deletes them on the first use of the next day, unless nobody comes on that day.
        _Rule("ops.daily_salts", "t.day < (%(before)s at time zone 'UTC')::date", now),
        _Rule("public.event_claims", "t.created_at < %(before)s", now - timedelta(days=settings.claims_keep_days)),
        _Rule(
            "public.users",
            "greatest(t.updated_at, t.last_seen_at) < %(before)s",
            months_after(now, -settings.users_keep_months),
            follows_events=True,
        ),
        _Rule("public.sessions", _SESSION_IS_OLD.replace("s.", "t."), sessions, follows_events=True),
        _Rule(
            "ops.shared_sessions",
            "not exists (select from public.sessions as s where s.site_id = t.site_id and s.session_id = t.session_id"
            f" and not ({_SESSION_IS_OLD}))",
            sessions,
            follows_events=True,
        ),
    ]


def run(url: str, settings: Settings, progress: Progress = _no_progress) -> list[Expired]:
    """Delete expired rows. Each batch is committed, so that after a kill the next run continues.

    Args:
        url: The owner's address, not through a pooler.
        settings: Retention periods.
        progress: Called with the processed pages and the total.

    Returns:
        The deleted rows, by table.

    Raises:
        UserError: An archiving run holds its lock for more than a minute.
    """
    with connect(url, application="tilda retention") as connection:
        rules = _present_rules(connection, settings)
        pages = {rule.table: _pages(connection, rule.table) for rule in rules}
        done, total = 0, sum(pages.values())
        expired: list[Expired] = []
        for rule in rules:
            rows, before = 0, rule.before
            for first in range(0, pages[rule.table], PAGES_A_BATCH):
                with _months_in_place(connection, rule):
                    before = _bound(connection, rule)
                    rows += _delete(connection, rule, before, first)
                progress(done + min(first + PAGES_A_BATCH, pages[rule.table]), total)
            done += pages[rule.table]
            expired.append(Expired(rule.table, rows, before))
    return expired


def dry_run(url: str, settings: Settings) -> list[Expired]:
    """Count the rows that `run` would delete now."""
    with connect(url, application="tilda retention") as connection:
        found: list[Expired] = []
        for rule in _present_rules(connection, settings):
            before = _bound(connection, rule)
            query = sql.SQL("select count(*) from {} as t where {}").format(
                sql.SQL(rule.table), sql.SQL(rule.condition)
            )
            row = connection.execute(query, {"before": before}).fetchone()
            assert row is not None
            found.append(Expired(rule.table, row[0], before))
    return found


def _present_rules(connection: psycopg.Connection, settings: Settings) -> list[_Rule]:
    rules = _rules(settings, datetime.now(UTC))
    return [rule for rule in rules if table_exists(connection, rule.table)]


def _pages(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(
        "select pg_relation_size(%s::regclass) / current_setting('block_size')::bigint", [table]
    ).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def _months_in_place(connection: psycopg.Connection, rule: _Rule) -> Generator[None]:
    """Prevent months from being restored while a batch is deleted, if the rule depends on events."""
    if rule.follows_events:
        with only_one(connection):
            yield
    else:
        yield


def _bound(connection: psycopg.Connection, rule: _Rule) -> datetime:
    """Return the time before which rows are expired."""
    if not rule.follows_events:
        return rule.before
    row = connection.execute(read_query(Path(__file__).parent / "sql", "oldest_event")).fetchone()
    return rule.before if row is None or row[0] is None else min(rule.before, row[0] - LATEST_CLOCK)


def _delete(connection: psycopg.Connection, rule: _Rule, before: datetime, first_page: int) -> int:
    """Delete the expired rows in one range of pages; return their number."""
    query = sql.SQL(
        """
        with expired as materialized (
            select t.ctid
            from {table} as t
            where t.ctid >= %(first)s::tid and t.ctid < %(end)s::tid and {condition}
            for update of t skip locked
        )

        delete from {table} where ctid = any(array(select ctid from expired))
        """
    ).format(table=sql.SQL(rule.table), condition=sql.SQL(rule.condition))
    values: dict[str, Any] = {
        "before": before,
        "first": f"({first_page},0)",
        "end": f"({first_page + PAGES_A_BATCH},0)",
    }
    return connection.execute(query, values).rowcount
