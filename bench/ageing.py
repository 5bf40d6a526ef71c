"""Test of archiving under load: move months of events to the archive and to cold storage while new events arrive.

`python -m bench.ageing` starts its own embedded Postgres (durable, with all indexes, policies and triggers) and fills
months with simulated events. It then runs `tilda archive run` repeatedly, with an advancing date, and kills the
process with SIGKILL at random times. Meanwhile, one connection inserts 1,000 events per second through `land_events`,
and another repeatedly counts all events in `archive.all_events` and in the records of the cold files. At the end, the
script measures runs that are not killed, restores a month, and prints the results as JSON. Durations are in
milliseconds or seconds, sizes in bytes per event and speeds in rows per second, as the names say. The script exits with
1 if an event was missing or in two places at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psycopg
import pyarrow.parquet as pq
from psycopg import sql
from rich.console import Console

from bench.ageing_threads import Auditor, LockWatch, Writer
from tests.embedded import migrated_database, running_postgres
from warehouse.archive import cold
from warehouse.archive.months import months_after
from warehouse.kit.database import connect
from warehouse.kit.installation import BASE_DIR
from warehouse.kit.queries import read_query
from warehouse.partitions.months import Partition, ensure_months, list_partitions
from warehouse.sites.registry import add_site

SQL_DIR = Path(__file__).parent / "sql"
MIN_MONTHS = 5
"""With fewer months, no month is old enough to be archived in the first runs."""
ROWS_PER_SECOND = 20_000
"""Approximate rows per second of an archive run, so that kills happen while the run processes a month."""


@dataclass
class AgeingResult:
    """The results.

    Attributes:
        events: Number of events before the first run.
        landed: Number of events that the writer inserted during the runs.
        landed_per_second: Mean rate of these events.
        kills: Number of runs that were killed while they worked.
        runs: Number of all runs.
        checks: Number of times that all events were counted during the runs.
        wrong_checks: Number of these counts that were wrong.
        missing: Number of events that are in no place at the end.
        doubled: Number of events that are in two places at the end.
        quiet_wait_ms: Longest flush of the writer before the first run.
        longest_wait_ms: Longest flush of the writer during the runs.
        longest_lock_wait_ms: Longest wait of the writer for a lock during the runs, to within 10 ms.
        wait_p99_ms: 99th percentile of the flushes during the runs.
        table_bytes: Bytes per event of a partition of `public.events`.
        index_bytes: Bytes per event of the indexes of a partition of `public.events`.
        archive_index_bytes: Bytes per event of the indexes of an archived partition.
        parquet_bytes: Bytes per event of a Parquet file.
        to_archive_seconds: Time to archive one month, without a kill.
        to_cold_per_second: Rows per second from the archive to cold storage, without a kill: write, read back, compare
            and drop.
        from_cold_per_second: Rows per second from cold storage to `public.events`: load, compare, index and attach.
        places: Number of partitions at the end, by place.
    """

    events: int = 0
    landed: int = 0
    landed_per_second: float = 0
    kills: int = 0
    runs: int = 0
    checks: int = 0
    wrong_checks: int = 0
    missing: int = 0
    doubled: int = 0
    quiet_wait_ms: float = 0
    longest_wait_ms: float = 0
    longest_lock_wait_ms: float = 0
    wait_p99_ms: float = 0
    table_bytes: float = 0
    index_bytes: float = 0
    archive_index_bytes: float = 0
    parquet_bytes: float = 0
    to_archive_seconds: float = 0
    to_cold_per_second: float = 0
    from_cold_per_second: float = 0
    places: dict[str, int] = field(default_factory=dict[str, int])


class Ageing:
    """A database whose months of events grow old."""

    def __init__(self, folder: Path, url: str, months: int, rows: int, seed: int) -> None:
        self._url = url
        self._environment = os.environ | {
            "DATABASE_URL": url,
            "DATA_DIR": str(folder / "data"),
            "COLD_STORAGE_URL": f"file://{folder}/cold",
        }
        self._dice = random.Random(seed)
        self._this_month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        # skip the last two months: they are never archived, because late events can still arrive for them
        self._months = [months_after(self._this_month, -2 - ago).date() for ago in range(months, 0, -1)]
        self._rows = rows
        self.account = AgeingResult(events=months * rows)
        self._output = Console(stderr=True)

    def fill(self) -> None:
        """Fill the past months with simulated events."""
        query = read_query(SQL_DIR, "simulated_month")
        with connect(self._url) as connection:
            for month in self._months:
                ensure_months(connection, [month])
                table = sql.Identifier("public", f"events_{month:%Y_%m}")
                connection.execute(sql.SQL(query).format(table=table), {"month": month, "rows": self._rows})
                connection.execute(sql.SQL("analyze {}").format(table))
                self._output.print(f"filled {month:%Y-%m}")
            # mark the months as not imported, as if the events had arrived when they happened
            connection.execute("update ops.months set imported_at = null")
        live = [part for part in list_partitions(self._url) if part.month in self._months]
        self.account.table_bytes = _mean(live, "bytes")
        self.account.index_bytes = _mean(live, "index_bytes")

    def age(self, kills: int, events_per_second: int) -> None:
        """Run and kill the archive job as of four consecutive months while new events arrive."""
        writer = Writer(self._url, events_per_second)
        writer.start()
        time.sleep(5)
        self.account.quiet_wait_ms = 1000 * max(writer.take())
        auditor = Auditor(self._url, self._this_month, self.account.events)
        auditor.start()
        watch = LockWatch(self._url)
        watch.start()
        began = time.monotonic()
        # as of these months, the newest filled month is not due yet: `measure` needs it
        moments = [months_after(self._this_month, ahead) for ahead in range(4)]
        while self.account.kills < kills:
            moment = moments[len(moments) * self.account.kills // kills]
            killed_after = self._dice.uniform(0, max(4.0, self._rows / ROWS_PER_SECOND))
            # if the run ended because no month was due, restore a month, so that the next run archives it again
            self.account.kills += self._run(moment, killed_after) or self._restore_oldest(killed_after)
        self._run(moments[-1])
        waits = writer.take()
        watch.stop()
        self.account.longest_lock_wait_ms = 1000 * watch.longest
        auditor.stop()
        writer.stop()
        seconds = time.monotonic() - began
        ordered = sorted(waits)
        self.account.longest_wait_ms = 1000 * ordered[-1]
        self.account.wait_p99_ms = 1000 * ordered[int(0.99 * len(ordered))]
        self.account.landed = len(writer.ids)
        self.account.landed_per_second = len(writer.ids) / (seconds + 5)
        self.account.checks, self.account.wrong_checks = auditor.checks, auditor.wrong
        self._count_missing_and_doubled(writer.ids)

    def measure(self) -> None:
        """Measure the speed of archiving, exporting and restoring one month, without kills."""
        month = self._months[-1]
        with connect(self._url) as connection:
            # make all other months too young to be archived
            connection.execute(
                """
                insert into ops.months (month, imported_at)
                select m, '2199-01-01' from unnest(%s::date[]) as m where m <> %s
                on conflict (month) do update set imported_at = excluded.imported_at
                """,
                [[part.month for part in list_partitions(self._url) if part.month], month],
            )
        started = time.monotonic()
        self._run(months_after(self._this_month, 4))
        self.account.to_archive_seconds = time.monotonic() - started
        archived = [part for part in list_partitions(self._url) if part.place == "archive"]
        self.account.archive_index_bytes = _mean(archived, "index_bytes")
        started = time.monotonic()
        self._run(months_after(self._this_month, 10))
        self.account.to_cold_per_second = self._rows / (time.monotonic() - started)
        with connect(self._url) as connection:
            files = cold.list_files(connection)
        self.account.parquet_bytes = sum(file.byte_count for file in files) / sum(file.row_count for file in files)
        started = time.monotonic()
        self._tilda("restore", f"{month:%Y-%m}")
        self.account.from_cold_per_second = self._rows / (time.monotonic() - started)

    def _run(self, moment: datetime, killed_after: float | None = None) -> bool:
        """Run the archive job as of a date; return whether it was killed."""
        self.account.runs += 1
        killed = self._tilda("archive", "run", "--as-of", f"{moment:%Y-%m-%d}", killed_after=killed_after)
        self._output.print(f"run {self.account.runs} as of {moment:%Y-%m-%d}: {'killed' if killed else 'done'}")
        return killed

    def _restore_oldest(self, killed_after: float) -> bool:
        """Restore the oldest month, with its age unchanged; return whether the command was killed."""
        if self._tilda("restore", f"{self._months[0]:%Y-%m}", killed_after=killed_after):
            return True
        with connect(self._url) as connection:
            connection.execute("update ops.months set restored_at = null")
        return False

    def _tilda(self, *arguments: str, killed_after: float | None = None) -> bool:
        command = [sys.executable, "-c", "from tilda.cli import main; main()", *arguments]
        process = subprocess.Popen(
            command, cwd=BASE_DIR, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if killed_after is not None:
            self._wait_until_at_work(process)
        try:
            _, stderr = process.communicate(timeout=killed_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        if process.returncode:
            raise RuntimeError(f"tilda {' '.join(arguments)}: {stderr.decode()}")
        return False

    def _wait_until_at_work(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the job has connected to Postgres or has exited."""
        query = "select exists (select from pg_stat_activity where application_name = 'tilda archive')"
        with connect(self._url) as connection:
            while process.poll() is None and connection.execute(query).fetchone() != (True,):
                time.sleep(0.01)

    def _count_missing_and_doubled(self, landed: set[UUID]) -> None:
        """Count the events that are missing or in two places."""
        found, files = Counter[str](), list[cold.ColdFile]()
        with connect(self._url) as connection:
            files = cold.list_files(connection)
            for place in list_partitions(self._url):
                self.account.places[place.place] = self.account.places.get(place.place, 0) + 1
            found["kept"] = _one(connection, "select count(distinct event_id) from archive.all_events")
            found["rows"] = _one(connection, "select count(*) from archive.all_events")
            stored = {
                row[0]
                for row in connection.execute(
                    "select event_id from archive.all_events where created_at >= %s", [self._this_month]
                )
            }
        for file in files:
            ids = pq.read_table(file.url.removeprefix("file://"), columns=["event_id"])["event_id"]
            distinct = len(ids.combine_chunks().storage.unique())
            found["kept"] += distinct
            found["rows"] += len(ids)
        expected = self.account.events + len(landed)
        self.account.missing = max(0, expected - found["kept"]) + len(landed - stored)
        self.account.doubled = found["rows"] - found["kept"]


def _one(connection: psycopg.Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _mean(parts: list[Partition], name: str) -> float:
    return sum(getattr(part, name) for part in parts) / max(1, sum(part.rows for part in parts))


def age(folder: Path, *, months: int, rows: int, kills: int, events_per_second: int, seed: int) -> AgeingResult:
    """Run the test in `folder` and return its results."""
    with running_postgres(folder / "postgres", 55900, secrets.token_hex(8)) as postgres:
        url = migrated_database(postgres, "ageing")
        add_site(url, "shop", ["shop.example"], "UTC")
        ageing = Ageing(folder, url, months, rows, seed)
        ageing.fill()
        ageing.age(kills, events_per_second)
        ageing.measure()
        return ageing.account


def main() -> int:
    """Run the test and print its results; return the exit code: 1 if an event was lost or duplicated, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--months", type=int, default=14, help=f"at least {MIN_MONTHS}")
    parser.add_argument("--rows", type=int, default=1_500_000, help="events per month")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--events-per-second", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.months < MIN_MONTHS:
        parser.error(
            f"With --months {options.months}, no month is due to be archived. Use --months {MIN_MONTHS} or more."
        )
    with tempfile.TemporaryDirectory(prefix="tilda-ageing-", ignore_cleanup_errors=True) as place:
        account = age(
            Path(place),
            months=options.months,
            rows=options.rows,
            kills=options.kills,
            events_per_second=options.events_per_second,
            seed=options.seed,
        )
    print(json.dumps(asdict(account), indent=1))
    return 1 if account.missing or account.doubled or account.wrong_checks else 0


if __name__ == "__main__":
    sys.exit(main())
