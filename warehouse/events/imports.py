"""Imports events from a file. An import is idempotent: a second run adds only missing events.

Each event's ID is derived from the file's content, so Postgres recognizes duplicates. Each batch is committed while
the next one is read.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal, Protocol, Self

import psycopg

from warehouse.events.access_log import UNREADABLE, AccessLog
from warehouse.events.event_file import EventFile
from warehouse.events.landing import IMPORT, land, take_if_new
from warehouse.events.schema import Limits, Row
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.progress import Progress, no_progress
from warehouse.partitions.months import ensure_months, unavailable_months
from warehouse.sites.registry import get_site

BATCH = 1_000
MAX_LINE = 1_048_576
"""Bytes. A longer line is truncated, so that a file without line ends cannot fill the memory."""

Format = Literal["access-log", "events"]


@dataclass
class Reason:
    """A reason for which lines were rejected.

    Attributes:
        code: Value of `rejected_events.code`.
        lines: Number of lines rejected for this reason.
        first_line: Line number of the first one, from 1; blank lines count.
        first_detail: Error message for the first one.
    """

    code: str
    lines: int
    first_line: int
    first_detail: str


@dataclass(frozen=True)
class ImportResult:
    """The result of an import: `lines` is the sum of `imported`, `duplicates`, `left_out` and `rejected`.

    Attributes:
        lines: Number of lines, without blank lines.
        imported: Number of new events.
        duplicates: Number of events that were already stored.
        left_out: Number of lines of an access log that are not page views, by reason.
        rejected: Number of lines that are stored in `rejected_events` with the reason.
        bots: Number of events among `imported` that are from bots.
        months: First days of the months whose partitions were created.
        reasons: Reasons of rejected lines, most frequent first.
    """

    lines: int
    imported: int
    duplicates: int
    left_out: dict[str, int]
    rejected: int
    bots: int
    months: list[date]
    reasons: list[Reason]


def import_file(
    url: str,
    path: Path,
    *,
    site_id: str,
    format: Format,  # noqa: A002 - the name of the option
    hash_key: str,
    progress: Progress = no_progress,
    limits: Limits | None = None,
) -> ImportResult:
    """Import a file, plain or compressed with gzip.

    Args:
        url: The database address with the owner's login.
        path: The file.
        site_id: The site that gets the events.
        format: `access-log` (see `access_log`) or `events` (see `event_file`).
        hash_key: Key of the HMAC that makes visitor IDs from a log's addresses.
        progress: Called after each batch with the bytes read and the file's size in bytes.
        limits: Limits for an event in a file of events.

    Raises:
        UserError: The site is unknown; the file cannot be read or has another format; or it contains events of months
            that are archived or cold. Events imported before the error stay, and the next run skips them.
    """
    site = get_site(url, site_id)
    reader = AccessLog(site, hash_key) if format == "access-log" else EventFile(site_id, limits or Limits())
    with _opened(path) as file, connect(url, application="tilda import") as connection, _Landing(connection) as landing:
        batches = _batches(file, reader)
        for number, batch in enumerate(batches):
            if number == 0:
                _check_format(batch, path, format)
            landing.put(batch, batches)
            progress(file.position(), file.size)
        result = landing.result()
        if file.damage is not None:
            raise UserError(
                f"{path} is damaged after {result.lines:,} lines: {file.damage}.",
                "The lines before the damage are imported. Import an undamaged copy of the file to add the rest.",
            )
        return result


class _Reader(Protocol):
    """Converts a line into a row, or returns the reason why the line is skipped."""

    def row(self, line: bytes) -> Row | str: ...


@dataclass
class _Batch:
    """Rows to store, their line numbers, and the number of skipped lines by reason."""

    rows: list[Row] = field(default_factory=list[Row])
    numbers: list[int] = field(default_factory=list[int])
    left_out: Counter[str] = field(default_factory=Counter[str])


class _Lines:
    """The lines of a file with their numbers, without line ends and blank lines.

    Attributes:
        size: Size of the file in bytes as stored (compressed); 0 for a pipe.
        damage: The error that ended reading before the end of the file; None without one.
    """

    def __init__(self, raw: io.BufferedReader[io.FileIO]) -> None:
        self._raw = raw
        self.size = os.fstat(raw.fileno()).st_size
        self.damage: str | None = None
        # gzip is recognized by its first bytes, not by the file's name
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        self._stream: io.BufferedIOBase = gzip.GzipFile(fileobj=raw) if packed else raw

    def position(self) -> int:
        """Return the number of bytes read so far."""
        return min(self._raw.tell(), self.size) if self.size else 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            while line := self._stream.readline(MAX_LINE):
                number += 1
                rest = line
                while not rest.endswith(b"\n") and (rest := self._stream.readline(MAX_LINE)):
                    pass
                if line := line.strip():
                    yield number, line
        except (EOFError, OSError, zlib.error) as error:
            self.damage = str(error)


@contextmanager
def _opened(path: Path) -> Generator[_Lines]:
    try:
        raw = io.BufferedReader(io.FileIO(path), 1 << 18)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a file that this user may read.") from error
    with raw:
        yield _Lines(raw)


def _batches(lines: _Lines, reader: _Reader) -> Iterator[_Batch]:
    of_file = iter(lines)
    while chunk := list(itertools.islice(of_file, BATCH)):
        batch = _Batch()
        for number, line in chunk:
            row = reader.row(line)
            if isinstance(row, Row):
                batch.rows.append(row)
                batch.numbers.append(number)
            else:
                batch.left_out[row] += 1
        yield batch


def _check_format(first: _Batch, path: Path, wanted: Format) -> None:
    """Raise an error, before anything is stored, if no line of the first batch can be parsed."""
    refused = [row for row in first.rows if row.reject_code is not None]
    unreadable = len(refused) + first.left_out[UNREADABLE]
    if unreadable == len(first.rows) + first.left_out.total():
        reason = f" The first: {refused[0].reject_detail}" if refused else ""
        raise UserError(
            f"{path} does not look like {wanted}: none of its first {unreadable:,} lines can be parsed.{reason}",
            "Check --format and the file.",
        )


class _Landing:
    """Stores batches in a thread, one at a time, while the next batch is prepared; counts the results."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="landing")
        self._pending: Future[None] | None = None
        self._ready: set[date] = set()
        self._made: list[date] = []
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._reasons: dict[str, Reason] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    def put(self, batch: _Batch, later: Iterator[_Batch]) -> None:
        """Store a batch, after its months' partitions are created.

        If a month is archived or cold, read the `later` batches too, so that the error names all such months.
        """
        self._wait()
        missing = _months(batch.rows) - self._ready
        if missing and unavailable_months(self._connection, missing):
            missing.update(*(_months(following.rows) for following in later))
            raise _refusal(unavailable_months(self._connection, missing))
        if missing:
            self._made += ensure_months(self._connection, missing)
            self._ready |= missing
        self._left_out += batch.left_out
        self._pending = self._thread.submit(self._land, batch)

    def result(self) -> ImportResult:
        """Return the result, after the last batch."""
        self._wait()
        counts = self._counts
        return ImportResult(
            lines=counts.total() - counts["bots"] + self._left_out.total(),
            imported=counts["imported"],
            duplicates=counts["duplicates"],
            left_out=dict(sorted(self._left_out.items())),
            rejected=counts["rejected"],
            bots=counts["bots"],
            months=sorted(self._made),
            reasons=sorted(self._reasons.values(), key=lambda one: (-one.lines, one.first_line)),
        )

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _land(self, batch: _Batch) -> None:
        new = land(self._connection, batch.rows, IMPORT)
        for row, number in zip(batch.rows, batch.numbers, strict=True):
            if row.reject_code is not None:
                self._counts["rejected"] += 1
                reason = self._reasons.setdefault(
                    row.reject_code, Reason(row.reject_code, 0, number, row.reject_detail or "")
                )
                reason.lines += 1
            elif take_if_new(row, new):
                self._counts["imported"] += 1
                self._counts["bots"] += row.is_bot
            else:
                self._counts["duplicates"] += 1


def _months(rows: list[Row]) -> set[date]:
    """Return the months (UTC) of the rows' `created_at`."""
    times = (row.client_created_at or row.arrived_at for row in rows if row.reject_code is None)
    return {date(year, month, 1) for year, month in {(time.year, time.month) for time in times if time}}


def _refusal(months: list[date]) -> UserError:
    names = [f"{month:%Y-%m}" for month in months]
    commands = ", ".join(f"`tilda restore {name}`" for name in names[:12]) + (", …" if len(names) > 12 else "")
    return UserError(
        f"The file contains events of months that are archived or cold: {', '.join(names)}.",
        f"Restore them with {commands}, then import the file again; it skips the events that are already stored.",
    )
