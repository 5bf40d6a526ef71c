"""Threads that run beside the archive job: a writer of events, a counter of events, and a monitor of lock waits."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from warehouse.events.landing import land
from warehouse.events.schema import Row
from warehouse.kit.database import connect

FLUSHES_PER_SECOND = 20
STOP_SECONDS = 300
"""Maximum time for the current flush or count to end."""


class BackgroundThread(threading.Thread):
    """A thread that works until `stop` is called."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._stop_requested = threading.Event()

    def stop(self) -> None:
        """Stop after the current statement.

        Raises:
            AssertionError: The thread did not stop within `STOP_SECONDS`.
        """
        self._stop_requested.set()
        self.join(STOP_SECONDS)
        assert not self.is_alive(), f"{type(self).__name__} did not stop within {STOP_SECONDS} s"


class Writer(BackgroundThread):
    """Inserts new events at a constant rate, and records the duration of each flush.

    Attributes:
        ids: IDs of the events that were inserted.
        waits: Duration in seconds of each flush since the last call of `take`.
    """

    def __init__(self, url: str, events_per_second: int) -> None:
        super().__init__(url)
        self._size = max(1, events_per_second // FLUSHES_PER_SECOND)
        self.ids: set[UUID] = set()
        self.waits: list[float] = []

    def run(self) -> None:
        """Insert events until `stop` is called."""
        with connect(self._url, application="ageing writer") as connection:
            due = time.monotonic()
            while not self._stop_requested.is_set():
                session, now = uuid4(), datetime.now(UTC)
                rows = [
                    Row(event_id=uuid4(), site_id="shop", source="api", event_type="page_view", session_id=session,
                        user_id=f"v{session.int % 5000}", client_created_at=now + timedelta(microseconds=n))
                    for n in range(self._size)
                ]  # fmt: skip
                started = time.monotonic()
                self.ids.update(event_id for _, event_id in land(connection, rows))
                self.waits.append(time.monotonic() - started)
                due = max(due + 1 / FLUSHES_PER_SECOND, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))

    def take(self) -> list[float]:
        """Return the recorded durations in seconds, and clear them."""
        taken, self.waits = self.waits, []
        return taken


class Auditor(BackgroundThread):
    """Repeatedly counts the old events in all places in one statement; the number must never change.

    Attributes:
        checks: Number of counts.
        wrong: Number of counts that differ from the expected number.
    """

    def __init__(self, url: str, before: datetime, expected: int) -> None:
        super().__init__(url)
        self._before, self._expected = before, expected
        self.checks = 0
        self.wrong = 0

    def run(self) -> None:
        """Count until `stop` is called."""
        query = """
            select
                (select count(*) from archive.all_events where created_at < %s)
                + (select coalesce(sum(row_count), 0) from archive.cold_files)
        """
        with connect(self._url, application="ageing auditor") as connection:
            while not self._stop_requested.is_set():
                row = connection.execute(query, [self._before]).fetchone()
                self.checks += 1
                self.wrong += row is None or int(row[0]) != self._expected
                # a count holds locks while it runs: pause between two counts, so that the archive job can get its locks
                self._stop_requested.wait(1)


class LockWatch(BackgroundThread):
    """Checks every 10 ms how long the writer has been waiting for a lock.

    Attributes:
        longest: Longest wait so far, in seconds.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.longest = 0.0

    def run(self) -> None:
        """Check until `stop` is called."""
        query = """
            select coalesce(extract(epoch from max(clock_timestamp() - l.waitstart)), 0)::float
            from pg_locks as l
            inner join pg_stat_activity as a on a.pid = l.pid and a.application_name = 'ageing writer'
            where not l.granted
        """
        with connect(self._url, application="ageing watch") as connection:
            while not self._stop_requested.wait(0.01):
                row = connection.execute(query).fetchone()
                self.longest = max(self.longest, row[0] if row else 0)
