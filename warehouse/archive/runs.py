"""Archiving as people and schedules run it: all that is due, one at a time, and a month brought back.

Killed anywhere, the next run finishes: what was done is committed, what was not is done again from where it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

import psycopg

from warehouse.archive import cold, moves
from warehouse.archive.months import Ages, Step, count_rows, is_due, plan, table_name
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.partitions.months import busy_explained

PATIENCE_SECONDS = 60

Progress = Callable[[float, float | None], None]


def _no_progress(_done: float, _total: float | None) -> None: ...


@dataclass(frozen=True)
class Restored:
    """A month that is live again.

    Attributes:
        month: Its first day.
        place: Where it was: `archive` or `cold`.
        rows: Its events.
    """

    month: date
    place: str
    rows: int


def ages_of(settings: Settings) -> Ages:
    """The ages that the settings say."""
    return Ages(settings.archive_after_months, settings.cold_after_months)


def run(url: str, ages: Ages, folder: str, as_of: datetime, progress: Progress = _no_progress) -> list[Step]:
    """Archive and write to cold storage all that is due, and finish what an earlier run could not.

    Args:
        url: The owner's address, past a pooler.
        ages: When a month leaves its place.
        folder: fsspec URL of cold storage.
        as_of: The moment that ages are counted to.
        progress: Told how many rows are done, of how many; rows on their way to a file count twice more.

    Returns:
        What was done: the steps of `dry_run`, without those that were not due any more when their turn came.

    Raises:
        UserError: Another run is at work; cold storage fails; long queries keep the tables busy. What was done stays.
    """
    done: list[Step] = []
    with _session(url) as connection:
        with suppress(UserError):  # said at the end: an old file that cannot be deleted keeps no month waiting
            cold.sweep(connection)
        moves.drop_spare_indexes(connection, "archive.events")
        steps = plan(connection, ages, as_of)
        count = _Counter(sum(step.rows * (2 if step.action == "cold" else 1) for step in steps), progress)
        for step in steps:

            def still_due(step: Step = step) -> bool:
                return is_due(connection, step.month, step.action, ages, as_of)

            if step.action == "archive":
                finished = moves.move(connection, step.month, "archive", still_wanted=still_due)
                count.add(step.rows)
            elif table_exists(connection, f"archive.{table_name(step.month)}"):
                finished = cold.freeze(connection, step.month, folder, still_wanted=still_due, progress=count.add)
            else:
                finished = False
            if finished:
                done.append(step)
        cold.sweep(connection)
    return done


def dry_run(url: str, ages: Ages, as_of: datetime) -> list[Step]:
    """What `run` would do at this moment."""
    with connect(url) as connection:
        return plan(connection, ages, as_of)


def restore(url: str, month: date, progress: Progress = _no_progress) -> Restored:
    """Bring a month back under `public.events`, from `archive.events` or from its file, verified.

    Its age counts from now, so that it stays for a while.

    Raises:
        UserError: The month is live, or nowhere; its file cannot be read or is damaged; another run is at work.
    """
    name = f"{month:%Y-%m}"
    with _session(url) as connection:
        file = cold.find(connection, month)
        if file is not None:
            thawed = _Counter(file.row_count, progress)
            cold.thaw(connection, file, progress=thawed.add)
            cold.sweep(connection)
            return Restored(month, "cold", file.row_count)
        if table_exists(connection, f"archive.{table_name(month)}"):
            rows = count_rows(connection, "archive", table_name(month))
            moves.move(connection, month, "public")
            progress(rows, rows)
            return Restored(month, "archive", rows)
        if table_exists(connection, f"public.{table_name(month)}"):
            raise UserError(f"The month {name} is live already.", "There is nothing to restore.")
    raise UserError(f"There is no month {name}.", "See `tilda partitions list`.")


@contextmanager
def only_one(connection: psycopg.Connection) -> Generator[None]:
    """Hold the lock of archiving while the block runs: nobody else moves, writes, restores or rewrites a month.

    Raises:
        UserError: Somebody else holds it for a minute.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    # asked again and again, since a waiting statement would keep CREATE INDEX CONCURRENTLY of the other run waiting
    while not _flag(connection, "select pg_try_advisory_lock(hashtextextended('tilda.archive', 0))"):
        if time.monotonic() > deadline:
            raise UserError("Another run of archiving is at work.", "Wait until it has ended, then try again.")
        time.sleep(0.2)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(hashtextextended('tilda.archive', 0))")


def table_exists(connection: psycopg.Connection, table: str) -> bool:
    """Whether there is a table of this name (`schema.name`)."""
    return _flag(connection, "select to_regclass(%s) is not null", table)


class _Counter:
    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        progress(0, total)

    def add(self, rows: int) -> None:
        self._done += rows
        self._progress(self._done, self._total)


@contextmanager
def _session(url: str) -> Generator[psycopg.Connection]:
    with connect(url, application="tilda archive") as connection, busy_explained():
        # rows are compared as text, which these change
        connection.execute("set timezone = 'UTC'")
        connection.execute("set datestyle = 'ISO, MDY'")
        # when this process is killed, the server shall notice within a second and not work on behind the next run
        connection.execute("set client_connection_check_interval = '1s'")
        with only_one(connection):
            yield connection


def _flag(connection: psycopg.Connection, query: LiteralString, *arguments: object) -> bool:
    row = connection.execute(query, arguments).fetchone()
    return row is not None and bool(row[0])
