"""Run all due archiving steps one after another, and restore months.

Finished steps are committed. If a run is killed, the next run continues with the interrupted step.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import LiteralString

import psycopg

from warehouse.archive import cold, moves
from warehouse.archive.months import Ages, Step, count_rows, is_due, plan, table_name
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.locks import held
from warehouse.kit.progress import Progress, no_progress
from warehouse.kit.settings import Settings
from warehouse.partitions.months import busy_explained

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Restored:
    """A restored month.

    Attributes:
        month: First day of the month.
        place: Where the month was: `archive` or `cold`.
        rows: Number of events.
    """

    month: date
    place: str
    rows: int


def ages_of(settings: Settings) -> Ages:
    """Return the ages in the settings."""
    return Ages(settings.archive_after_months, settings.cold_after_months)


def run(url: str, ages: Ages, folder: str, as_of: datetime, progress: Progress = no_progress) -> list[Step]:
    """Run all due steps, and finish steps that an earlier run did not complete.

    Args:
        url: The owner's database URL, without a transaction pooler.
        ages: Ages at which months are moved.
        folder: fsspec URL of cold storage.
        as_of: Time at which ages are computed.
        progress: Called with the processed and the total number of rows; rows of files count once when written and once
            when read back.

    Returns:
        The finished steps: those of `dry_run` without the steps that were no longer due.

    Raises:
        UserError: Another run is active, cold storage fails, or long queries lock the tables. Finished steps stay.
    """
    done: list[Step] = []
    with _session(url) as connection:
        with suppress(
            UserError
        ):  # a file that cannot be deleted must not block the steps; the sweep at the end reports it
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
                finished = cold.freeze(connection, step.month, folder, still_wanted=still_due, on_rows=count.add)
            else:
                finished = False
            if finished:
                done.append(step)
        cold.sweep(connection)
    return done


def dry_run(url: str, ages: Ages, as_of: datetime) -> list[Step]:
    """Return the steps that `run` would execute now."""
    with connect(url) as connection:
        return plan(connection, ages, as_of)


def restore(url: str, month: date, progress: Progress = no_progress) -> Restored:
    """Move a month back to `public.events`, from `archive.events` or from its file, and verify it.

    The age of the month then counts from now, so that it is not archived again at once.

    Raises:
        UserError: The month is live or unknown, its file cannot be read or is damaged, or another run is active.
    """
    name = f"{month:%Y-%m}"
    with _session(url) as connection:
        file = cold.find(connection, month)
        if file is not None:
            thawed = _Counter(file.row_count, progress)
            cold.thaw(connection, file, on_rows=thawed.add)
            cold.sweep(connection)
            return Restored(month, "cold", file.row_count)
        if table_exists(connection, f"archive.{table_name(month)}"):
            rows = count_rows(connection, "archive", table_name(month))
            moves.move(connection, month, "public")
            progress(rows, rows)
            return Restored(month, "archive", rows)
        if table_exists(connection, f"public.{table_name(month)}"):
            raise UserError(f"The month {name} is already live.", "There is nothing to restore.")
    raise UserError(f"There is no month {name}.", "List the months with `tilda partitions list`.")


def archive_lock(connection: psycopg.Connection) -> AbstractContextManager[None]:
    """Hold the archive lock while the block runs, so that no other process moves, restores or rewrites months.

    Raises:
        UserError: Another process still holds the lock after `PATIENCE_SECONDS`.
    """
    busy = UserError("Another archive run is active.", "Wait until it has ended, then try again.")
    return held(connection, "tilda.archive", busy=busy, patience=PATIENCE_SECONDS)


def table_exists(connection: psycopg.Connection, table: str) -> bool:
    """Return whether the table `schema.name` exists."""
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
        # checksums use the text form of rows, which depends on these settings
        connection.execute("set timezone = 'UTC'")
        connection.execute("set datestyle = 'ISO, MDY'")
        # if this process is killed, the server cancels its statement within a second, before the next run
        connection.execute("set client_connection_check_interval = '1s'")
        with archive_lock(connection):
            yield connection


def _flag(connection: psycopg.Connection, query: LiteralString, *arguments: object) -> bool:
    row = connection.execute(query, arguments).fetchone()
    return row is not None and bool(row[0])
