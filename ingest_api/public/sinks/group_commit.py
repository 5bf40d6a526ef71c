"""Group commit: requests that arrive during a flush share the next flush.

A request appends its rows to a queue and waits; a flusher takes the complete queue and stores it with one statement.
Concurrent requests share the cost of a commit, and a single request does not wait for others. While several requests
are in flight, flushes start a few milliseconds apart, so that commits are shared under medium load, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from dataclasses import dataclass, field

import msgspec

from ingest_api.problems import ProblemError, unavailable
from ingest_api.public.metrics import FLUSH_ROWS, FLUSH_SECONDS, WAITING
from ingest_api.public.sinks import Sink
from warehouse.events.landing import EventKey, take_if_new
from warehouse.events.schema import Row

MOST_ROWS = 1000
"""Maximum rows in one flush; a single request may exceed it."""
ENOUGH_ROWS = 200
"""A flush of this many rows starts without a delay, because its fixed cost per row is small."""
GATHER_SECONDS = 0.008
"""Minimum time between two smaller flushes under load (compare Postgres's commit_delay and commit_siblings)."""
MAX_WAITING_ROWS = 50_000
"""Maximum queued rows. Beyond this the API answers 503, so that a slow database cannot exhaust memory."""

_log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """The result for one request's events.

    Attributes:
        accepted: Number of events stored by this request.
        duplicates: Number of events that were already stored, by another request or earlier in this one.
        spooled: Number of events on the local disk. If it is not 0, `accepted` and `duplicates` are unknown.
        rejected_by_database: Rows that Postgres refused, with their `reject_code`.
    """

    accepted: int = 0
    duplicates: int = 0
    spooled: int = 0
    rejected_by_database: tuple[Row, ...] = ()


@dataclass(slots=True)
class _Submission:
    rows: list[Row]
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupCommit:
    """Stores the rows of concurrent requests together.

    Args:
        sink: The sink that stores a flush.
        flushers: Number of concurrent flushes: one is committed while the next one is sent.
    """

    def __init__(self, sink: Sink, flushers: int) -> None:
        self._sink = sink
        self._flusher_count = flushers
        self._waiting: deque[_Submission] = deque()
        self._waiting_rows = 0
        self._arrived = asyncio.Event()
        self._taking = asyncio.Lock()
        self._last_take = 0.0
        self._under_way = 0
        self._flushers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the flushers in the running loop."""
        loop = asyncio.get_running_loop()
        self._flushers = [loop.create_task(self._flush_forever()) for _ in range(self._flusher_count)]

    async def stop(self) -> None:
        """Store the queued rows, then stop. Do not call `submit` afterwards."""
        while self._waiting:
            await asyncio.wait([self._waiting[-1].outcome])
        for flusher in self._flushers:
            flusher.cancel()
        await asyncio.gather(*self._flushers, return_exceptions=True)

    async def submit(self, rows: list[Row]) -> Outcome:
        """Store the rows of one request; return after they are durable.

        Raises:
            ProblemError: The queue is full, or the sink cannot store rows (503).
        """
        if not rows:
            return Outcome()
        if self._waiting_rows + len(rows) > MAX_WAITING_ROWS:
            raise unavailable("busy", "Too many events are queued; try again shortly.", 2)
        submission = _Submission(rows)
        self._waiting.append(submission)
        self._waiting_rows += len(rows)
        WAITING.set(self._waiting_rows)
        self._arrived.set()
        return await submission.outcome

    async def _flush_forever(self) -> None:
        while True:
            async with self._taking:
                await self._arrived.wait()
                await self._gather()
                submissions = self._take()
            self._under_way += 1
            try:
                await _flush(submissions, self._sink)
            except ProblemError as error:
                _fail(submissions, error)
            except Exception:  # noqa: BLE001 - each request is retried below
                # Retry each request separately, so that only the faulty request fails.
                _log.exception("a flush failed")
                for submission in submissions:
                    try:
                        await _flush([submission], self._sink)
                    except Exception as error:  # noqa: BLE001 - the flusher goes on; the request gets the error
                        _fail([submission], error)
            finally:
                self._under_way -= 1

    async def _gather(self) -> None:
        """Wait for more rows while other requests are in flight."""
        if (self._under_way or len(self._waiting) > 1) and self._waiting_rows < ENOUGH_ROWS:
            since = asyncio.get_running_loop().time() - self._last_take
            await asyncio.sleep(GATHER_SECONDS - since)

    def _take(self) -> list[_Submission]:
        self._last_take = asyncio.get_running_loop().time()
        taken: list[_Submission] = []
        rows = 0
        while self._waiting and (not taken or rows + len(self._waiting[0].rows) <= MOST_ROWS):
            taken.append(self._waiting.popleft())
            rows += len(taken[-1].rows)
        self._waiting_rows -= rows
        WAITING.set(self._waiting_rows)
        if not self._waiting:
            self._arrived.clear()
        return taken


async def _flush(submissions: list[_Submission], sink: Sink) -> None:
    rows = [row for submission in submissions for row in submission.rows]
    rejected_before = {id(row) for row in rows if row.reject_code is not None}
    FLUSH_ROWS.observe(len(rows))
    with FLUSH_SECONDS.time():
        new = await sink.land(rows)
    all_are_new = new is not None and new.total() == len(rows)
    for submission in submissions:
        if all_are_new:
            outcome = Outcome(accepted=len(submission.rows))
        elif new is None:
            outcome = Outcome(spooled=sum(id(row) not in rejected_before for row in submission.rows))
        else:
            outcome = _outcome(submission.rows, new, rejected_before)
        if not submission.outcome.done():
            submission.outcome.set_result(outcome)


def _fail(submissions: list[_Submission], error: Exception) -> None:
    for submission in submissions:
        if not submission.outcome.done():
            submission.outcome.set_exception(error)


def _outcome(rows: list[Row], new: Counter[EventKey], rejected_before: set[int]) -> Outcome:
    """Count one request's events. Of the flush's rows with the same key, the first counts as accepted."""
    accepted = duplicates = 0
    rejected: list[Row] = []
    for row in rows:
        if row.reject_code is not None:
            if id(row) not in rejected_before:
                rejected.append(row)
        elif take_if_new(row, new):
            accepted += 1
        else:
            duplicates += 1
    return Outcome(accepted, duplicates, rejected_by_database=tuple(rejected))
