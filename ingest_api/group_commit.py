"""Group commit: requests that arrive while a flush runs share the next one.

A request appends its rows and waits; a flusher takes all that waits and lands it in one statement. So the cost of a
commit is shared by as many requests as there are, and a lone request waits for nobody. While requests come together,
takes keep a small distance, so that a medium load shares its commits as a heavy one does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ingest_api.metrics import FLUSH_ROWS, FLUSH_SECONDS, WAITING
from ingest_api.problems import ProblemError, unavailable
from warehouse.events.landing import EventKey, take_if_new
from warehouse.events.schema import Row

MOST_ROWS = 1000
"""Rows in one flush, unless one request holds more."""
ENOUGH_ROWS = 200
"""A flush of so many rows has its fixed cost well shared; it starts at once."""
GATHER_SECONDS = 0.008
"""Distance between two smaller takes while requests come together (as Postgres's commit_delay and commit_siblings)."""
MAX_WAITING_ROWS = 50_000
"""About ten flushes of memory a second's load; more is refused, so that a slow database cannot fill the memory."""

Store = Callable[[Sequence[Row]], Awaitable[Counter[EventKey] | None]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request's events.

    Attributes:
        accepted: Stored now.
        duplicates: Stored before, by another request or earlier in this one.
        spooled: On the local disk until Postgres is back; then `accepted` and `duplicates` are not known.
        refused: Rows that Postgres refused, with their `reject_code`.
    """

    accepted: int = 0
    duplicates: int = 0
    spooled: int = 0
    refused: tuple[Row, ...] = ()


@dataclass(slots=True)
class _Submission:
    rows: list[Row]
    outcome: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupCommit:
    """Lands the rows of concurrent requests together.

    Args:
        stores: One function for each flush that may run at the same time. It makes rows durable and returns the keys of
            the events that were new, or None when the rows are on the spool.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
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
        self._flushers = [loop.create_task(self._flush_forever(store)) for store in self._stores]

    async def stop(self) -> None:
        """Land all that waits, then stop. Nothing may be submitted any more."""
        while self._waiting:
            await asyncio.wait([self._waiting[-1].outcome])
        for flusher in self._flushers:
            flusher.cancel()
        await asyncio.gather(*self._flushers, return_exceptions=True)

    @property
    def waiting_rows(self) -> int:
        """Rows that no flush has taken yet."""
        return self._waiting_rows

    async def submit(self, rows: list[Row]) -> Outcome:
        """Land the rows of one request; returns after they are durable.

        Raises:
            ProblemError: Too much waits already, or Postgres is away (503).
        """
        if not rows:
            return Outcome()
        if self._waiting_rows + len(rows) > MAX_WAITING_ROWS:
            raise unavailable("busy", "More events wait than can be stored now; try again shortly.", 2)
        submission = _Submission(rows)
        self._waiting.append(submission)
        self._waiting_rows += len(rows)
        WAITING.set(self._waiting_rows)
        self._arrived.set()
        return await submission.outcome

    async def _flush_forever(self, store: Store) -> None:
        while True:
            async with self._taking:
                await self._arrived.wait()
                await self._gather()
                submissions = self._take()
            self._under_way += 1
            try:
                await _flush(submissions, store)
            except ProblemError as error:
                _fail(submissions, error)
            except Exception:  # noqa: BLE001 - see below
                # Nobody knows whose rows these are about: each request alone, so that only one of them fails.
                _log.exception("a flush failed")
                for submission in submissions:
                    try:
                        await _flush([submission], store)
                    except Exception as error:  # noqa: BLE001 - a flusher lives on; its request gets the error
                        _fail([submission], error)
            finally:
                self._under_way -= 1

    async def _gather(self) -> None:
        """Wait for more company, when there is any."""
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


async def _flush(submissions: list[_Submission], store: Store) -> None:
    rows = [row for submission in submissions for row in submission.rows]
    refused_before = {id(row) for row in rows if row.reject_code is not None}
    FLUSH_ROWS.observe(len(rows))
    with FLUSH_SECONDS.time():
        new = await store(rows)
    for submission in submissions:
        if new is None:
            outcome = Outcome(spooled=sum(id(row) not in refused_before for row in submission.rows))
        else:
            outcome = _outcome(submission.rows, new, refused_before)
        if not submission.outcome.done():
            submission.outcome.set_result(outcome)


def _fail(submissions: list[_Submission], error: Exception) -> None:
    for submission in submissions:
        if not submission.outcome.done():
            submission.outcome.set_exception(error)


def _outcome(rows: list[Row], new: Counter[EventKey], refused_before: set[int]) -> Outcome:
    """Settle one request's account: of the flush's rows with one key, the first counts as accepted."""
    accepted = duplicates = 0
    refused: list[Row] = []
    for row in rows:
        if row.reject_code is not None:
            if id(row) not in refused_before:
                refused.append(row)
        elif take_if_new(row, new):
            accepted += 1
        else:
            duplicates += 1
    return Outcome(accepted, duplicates, refused=tuple(refused))
