"""What goes on beside an ageing database: events that come, a count that must never change, and an eye on the locks."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from warehouse.database import connect
from warehouse.events.landing import land
from warehouse.events.schema import Row

FLUSHES_PER_SECOND = 20


class Writer(threading.Thread):
    """Lands events of now at a steady rate, and remembers how long each flush took.

    Attributes:
        ids: Events that were landed.
        waits: Seconds of each flush since the last `take`.
    """

    def __init__(self, url: str, events_per_second: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._size = max(1, events_per_second // FLUSHES_PER_SECOND)
        self._told_to_stop = threading.Event()
        self.ids: set[UUID] = set()
        self.waits: list[float] = []

    def run(self) -> None:
        """Land until told to stop."""
        with connect(self._url, application="ageing writer") as connection:
            due = time.monotonic()
            while not self._told_to_stop.is_set():
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
        """The waits so far; counting begins anew."""
        taken, self.waits = self.waits, []
        return taken

    def stop(self) -> None:
        """Finish the flush at hand."""
        self._told_to_stop.set()
        self.join(60)


class Auditor(threading.Thread):
    """Counts old events everywhere in one statement, over and over: the number must never change."""

    def __init__(self, url: str, before: datetime, expected: int) -> None:
        super().__init__(daemon=True)
        self._url, self._before, self._expected = url, before, expected
        self._told_to_stop = threading.Event()
        self.checks = 0
        self.wrong = 0

    def run(self) -> None:
        """Count until told to stop."""
        query = """
            select
                (select count(*) from archive.all_events where created_at < %s)
                + (select coalesce(sum(row_count), 0) from archive.cold_files)
        """
        with connect(self._url, application="ageing auditor") as connection:
            while not self._told_to_stop.is_set():
                row = connection.execute(query, [self._before]).fetchone()
                self.checks += 1
                self.wrong += row is None or int(row[0]) != self._expected
                # a count holds its locks as long as it runs: leave room between two
                self._told_to_stop.wait(1)

    def stop(self) -> None:
        """Finish the count at hand."""
        self._told_to_stop.set()
        self.join(300)


class LockWatch(threading.Thread):
    """Looks every few milliseconds whether the writer waits for a lock, and since when.

    Attributes:
        longest: Seconds.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._told_to_stop = threading.Event()
        self.longest = 0.0

    def run(self) -> None:
        """Look until told to stop."""
        query = """
            select coalesce(extract(epoch from max(clock_timestamp() - l.waitstart)), 0)::float
            from pg_locks as l
            inner join pg_stat_activity as a on a.pid = l.pid and a.application_name = 'ageing writer'
            where not l.granted
        """
        with connect(self._url, application="ageing watch") as connection:
            while not self._told_to_stop.wait(0.01):
                row = connection.execute(query).fetchone()
                self.longest = max(self.longest, row[0] if row else 0)

    def stop(self) -> None:
        """Finish."""
        self._told_to_stop.set()
        self.join(60)
