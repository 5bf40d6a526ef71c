"""Crash test: kill the API's workers and Postgres at random under load, and look for lost and duplicate events.

`python -m bench.crash --kills 100` prints numbers of events, responses and kills as JSON. A client retries every batch
with the same events until the batch is acknowledged, as the collector does. Clients share sessions, mix new events with
resent ones in random order, and send some events without a time. No acknowledged event may be missing, and no event may
be stored twice.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil

from bench.api_fixture import api_and_postgres
from tests.ingest_server import UNLIMITED, IngestServer, page_view
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres

CLIENTS = 6
BATCH = 20
LONGEST_PAUSE = 0.4
"""Longest pause of a client between two batches, in seconds; the mean is half of it."""
STUCK_SECONDS = 60


@dataclass
class CrashResult:
    """The results of a crash test.

    Attributes:
        acknowledged: Number of events in batches that were answered with 202.
        missing: Number of acknowledged events that are not in the table.
        stored_twice: Number of event IDs with more than one row.
        accepted: Sum of `accepted` over all responses.
        answers: Number of responses by status; 0 means that the connection failed.
        kills: Number of kills by kind of process.
        unexpected: Number of responses with a status other than 202 and 503.
        spooled: Sum of `spooled` over all responses.
    """

    acknowledged: int = 0
    missing: int = 0
    stored_twice: int = 0
    accepted: int = 0
    answers: Counter[int] = field(default_factory=Counter[int])
    kills: Counter[str] = field(default_factory=Counter[str])
    unexpected: int = 0
    spooled: int = 0


class Clients:
    """Client threads that send batches until `stop` is called, and record the acknowledged event IDs.

    Args:
        url: Where events are posted.
        account: Counts the answers.
        others: Addresses of other machines: a batch that one machine did not acknowledge is sent to the next one.
    """

    def __init__(self, url: str, account: CrashResult, others: Sequence[str] = ()) -> None:
        self._urls = [url, *others]
        self._account = account
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.acknowledged: set[UUID] = set()
        self._sessions = [str(uuid4()) for _ in range(20)]
        self._threads = [threading.Thread(target=self._run, args=(seed,), daemon=True) for seed in range(CLIENTS)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop each client after its current batch is acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a client did not stop within 120 s"

    def _run(self, seed: int) -> None:
        dice = random.Random(seed)
        earlier: list[dict[str, object]] = []
        with httpx.Client(timeout=40) as client:
            while not self._stop.is_set():
                batch = [self._event(dice) for _ in range(BATCH)]
                batch += dice.sample(earlier, min(len(earlier), 5))
                dice.shuffle(batch)
                self._send_until_acknowledged(client, batch, dice)
                time.sleep(dice.uniform(0, LONGEST_PAUSE))
                earlier = (earlier + batch)[-200:]

    def _event(self, dice: random.Random) -> dict[str, object]:
        """Return a random event: most have the current time, some are 20 days or 11 years old, some have no time."""
        event = page_view(session_id=dice.choice(self._sessions), user_id=f"v-{dice.randrange(30)}")
        ago = dice.choice([timedelta(0)] * 6 + [timedelta(days=20), timedelta(days=4000), None])
        if ago is not None:
            event["created_at"] = (datetime.now(UTC) - ago).isoformat()
        return event

    def _send_until_acknowledged(
        self, client: httpx.Client, batch: list[dict[str, object]], dice: random.Random
    ) -> None:
        for url in itertools.cycle(self._urls):
            try:
                answer = client.post(url, json=batch)
            except httpx.TransportError:
                answer = None
            status = answer.status_code if answer is not None else 0
            with self._lock:
                self._account.answers[status] += 1
                if answer is not None and status == 202:
                    result = answer.json()
                    self._account.accepted += result.get("accepted", 0)
                    self._account.spooled += result.get("spooled", 0)
                    self.acknowledged |= {UUID(str(event["event_id"])) for event in batch}
                    return
                self._account.unexpected += status not in {0, 503}
            dice.shuffle(batch)
            time.sleep(0.05)


class Reaper:
    """Kills random processes, and restarts those that nothing else restarts."""

    def __init__(self, server: IngestServer, postgres: EmbeddedPostgres, account: CrashResult, seed: int) -> None:
        self._server = server
        self._postgres = postgres
        self._port = postgres.running_port() or 0
        self._account = account
        self._dice = random.Random(seed)

    def kill_once(self) -> None:
        """Kill a worker, the complete API, a Postgres backend, or all processes of Postgres."""
        kind = self._dice.choice(["worker", "worker", "api", "backend", "postgres"])
        {"worker": self._worker, "api": self._api, "backend": self._backend, "postgres": self._all_of_postgres}[kind]()
        self._account.kills[kind] += 1

    def _worker(self) -> None:
        assert self._server.process is not None
        workers: list[psutil.Process] = []
        for child in psutil.Process(self._server.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # the worker has just exited, or is a zombie
                if "resource_tracker" not in " ".join(child.cmdline()):
                    workers.append(child)
        if not workers:
            self._api()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._dice.choice(workers).pid, signal.SIGKILL)

    def _api(self) -> None:
        self._server.kill()
        self._server.start()

    def _backend(self) -> None:
        """Kill a backend; Postgres then terminates all other backends and recovers."""
        try:
            rows = self._server.rows("select pid from pg_stat_activity where usename = 'tilda_ingest'")
        except Exception:  # noqa: BLE001 - Postgres is already down
            return
        if rows:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._dice.choice(rows)[0], signal.SIGKILL)

    def _all_of_postgres(self) -> None:
        pid = int((self._postgres.data / "postmaster.pid").read_text().splitlines()[0])
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, 10)
        time.sleep(self._dice.uniform(0, 2))
        self._postgres.start(self._port)


def campaign(folder: Path, kills: int, *, workers: int = 2, seed: int = 1, pause: float = 1.5) -> CrashResult:
    """Run a crash test and return its results.

    Args:
        folder: An empty folder for the data.
        kills: Number of kills.
        workers: Number of API workers.
        seed: Seed for the order and times of kills.
        pause: Mean time between kills, in seconds.
    """
    account = CrashResult()
    with api_and_postgres(folder, 55800, UNLIMITED | {"INGEST_WORKERS": str(workers)}) as (server, postgres):
        server.start()
        clients = Clients(server.events_url, account)
        clients.start()
        reaper, dice = Reaper(server, postgres, account, seed), random.Random(seed)
        for _ in range(kills):
            time.sleep(dice.uniform(0, 2 * pause))
            reaper.kill_once()
        time.sleep(1)
        clients.stop()
        wait_until_drained(server.url)
        compare_with_stored(server.database_url, clients.acknowledged, account)
    return account


def wait_until_drained(url: str) -> None:
    """Wait until the spool of the API at `url` is empty.

    Raises:
        AssertionError: The spool did not get shorter for `STUCK_SECONDS`.
    """
    least, deadline = float("inf"), time.monotonic() + STUCK_SECONDS
    state: Any = None
    while time.monotonic() < deadline:
        try:
            state = httpx.get(f"{url}/ready", timeout=10).json()
        except httpx.TransportError as error:
            state = repr(error)
        else:
            waiting = state["spool"]["rows"]
            if state["database"] == "reachable" and waiting == 0:
                return
            if waiting < least:
                least, deadline = waiting, time.monotonic() + STUCK_SECONDS
        time.sleep(0.2)
    raise AssertionError(f"the spool is not drained: {state}")


def compare_with_stored(database_url: str, acknowledged: set[UUID], account: CrashResult) -> None:
    """Compare the IDs of acknowledged events with those of stored events."""
    with connect(database_url) as connection:
        stored = Counter(row[0] for row in connection.execute("select event_id from public.events"))
    account.acknowledged = len(acknowledged)
    account.missing = len(acknowledged - set(stored))
    account.stored_twice = sum(number > 1 for number in stored.values())


def outage(folder: Path, minutes: float) -> CrashResult:
    """Stop Postgres for `minutes` under load, and return the results."""
    account = CrashResult()
    with api_and_postgres(folder, 55850, UNLIMITED) as (server, postgres):
        port = postgres.running_port()
        assert port is not None
        server.start()
        clients = Clients(server.events_url, account)
        clients.start()
        time.sleep(2)
        postgres.stop()
        time.sleep(60 * minutes)
        postgres.start(port)
        time.sleep(2)
        clients.stop()
        wait_until_drained(server.url)
        compare_with_stored(server.database_url, clients.acknowledged, account)
    return account


def main() -> int:
    """Run a crash test and print its results; return the exit code: 1 if an event was lost or duplicated, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--outage-minutes", type=float, help="stop Postgres for this long instead of killing processes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tilda-crash-", ignore_cleanup_errors=True) as place:
        if options.outage_minutes is not None:
            account = outage(Path(place), options.outage_minutes)
        else:
            account = campaign(Path(place), options.kills, workers=options.workers, seed=options.seed)
    # vars, not asdict: asdict cannot copy a Counter correctly in Python 3.11
    print(json.dumps(vars(account), indent=1))
    return 1 if account.missing or account.stored_twice or account.unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
