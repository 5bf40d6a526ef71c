"""Group commit: requests that arrive while a flush runs share the next one.

A request appends its rows and waits; a flusher takes all that waits and lands it in one statement. So the cost of a
commit is shared by as many requests as there are, and a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ingest_api.problems import unavailable
from ingest_api.sites import PostgresAwayError
from warehouse.events.schema import Row

FLUSH_ROWS = 1000
MAX_WAITING_ROWS = 50_000
"""About ten flushes of memory a second's load; more is refused, so that a slow database cannot fill the memory."""


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
        land: One function for each flush that may run at the same time; returns the ids that were new.
    """

    def __init__(self, land: Sequence[Callable[[Sequence[Row]], Awaitable[set[UUID]]]]) -> None:
        self._land = land
        self._waiting: deque[_Submission] = deque()
        self._waiting_rows = 0
        self._arrived = asyncio.Event()
        self._flushers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the flushers in the running loop."""
        loop = asyncio.get_running_loop()
        self._flushers = [loop.create_task(self._flush_forever(land)) for land in self._land]

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
        self._arrived.set()
        return await submission.outcome

    async def _flush_forever(self, land: Callable[[Sequence[Row]], Awaitable[set[UUID]]]) -> None:
        while True:
            await self._arrived.wait()
            submissions = self._take()
            try:
                await _flush(submissions, land)
            except Exception as error:  # noqa: BLE001 - a flusher lives on; the requests get the error
                for submission in submissions:
                    if not submission.outcome.done():
                        submission.outcome.set_exception(error)

    def _take(self) -> list[_Submission]:
        taken: list[_Submission] = []
        rows = 0
        while self._waiting and (not taken or rows + len(self._waiting[0].rows) <= FLUSH_ROWS):
            taken.append(self._waiting.popleft())
            rows += len(taken[-1].rows)
        self._waiting_rows -= rows
        if not self._waiting:
            self._arrived.clear()
        return taken


async def _flush(submissions: list[_Submission], land: Callable[[Sequence[Row]], Awaitable[set[UUID]]]) -> None:
    refused_before = {id(row) for submission in submissions for row in submission.rows if row.reject_code is not None}
    try:
        new = await land([row for submission in submissions for row in submission.rows])
    except PostgresAwayError:
        raise unavailable("database_away", "The database is away; try again shortly.", 5) from None
    for submission in submissions:
        if not submission.outcome.done():
            submission.outcome.set_result(_outcome(submission.rows, new, refused_before))


def _outcome(rows: list[Row], new: set[UUID], refused_before: set[int]) -> Outcome:
    """Settle one request's account. An id counts as accepted for the first event of the flush that carries it."""
    accepted = duplicates = 0
    refused: list[Row] = []
    for row in rows:
        if row.reject_code is not None:
            if id(row) not in refused_before:
                refused.append(row)
        elif row.event_id in new:
            new.discard(row.event_id)
            accepted += 1
        else:
            duplicates += 1
    return Outcome(accepted, duplicates, refused=tuple(refused))
