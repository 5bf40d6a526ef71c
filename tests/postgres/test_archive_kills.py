"""After the archive job is killed at random, the next run completes and every event is stored exactly once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from tests.postgres.landed import count
from tests.postgres.months import ARCHIVED, COLD, contents, fill, indexes, places, run
from warehouse.archive import runs
from warehouse.kit.database import connect
from warehouse.kit.installation import BASE_DIR

MONTHS = [date(2020, month, 1) for month in range(1, 5)]
JOB = """
import sys
from datetime import datetime
from warehouse.archive import runs
from warehouse.archive.months import Ages
url, folder, moment = sys.argv[1:]
print("begins", flush=True)
runs.run(url, Ages(6, 12), folder, datetime.fromisoformat(moment))
"""


def start(url: str, folder: str, moment: datetime) -> subprocess.Popen[str]:
    """Start the job in its own process and wait until it begins to work."""
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, url, folder, moment.isoformat()],
        cwd=BASE_DIR, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert job.stdout is not None
    assert job.stdout.readline() == "begins\n"
    return job


def all_event_ids(connection: psycopg.Connection) -> list[str]:
    """Return the event IDs in Postgres and in cold files, with repetitions, sorted."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        ids = [row[0] for row in connection.execute("select event_id::text from archive.all_events")]
        urls = [row[0] for row in connection.execute("select url from archive.cold_files")]
    for url in urls:
        column = pq.read_table(url.removeprefix("file://"), columns=["event_id"])["event_id"]
        ids += [str(value) for value in column.to_pylist()]
    return sorted(ids)


def test_the_next_run_completes_a_job_killed_4_times(database_url: str, tmp_path: Path) -> None:
    kill_repeatedly(database_url, tmp_path, kills=4)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_next_run_completes_a_job_killed_60_times(database_url: str, tmp_path: Path) -> None:
    kill_repeatedly(database_url, tmp_path, kills=60)


def kill_repeatedly(url: str, folder: Path, kills: int) -> None:
    fill(url, *MONTHS)
    storage, dice = f"file://{folder}/cold", random.Random(kills)
    with connect(url) as connection:
        before, ids = contents(connection), all_event_ids(connection)
        moments = {False: ARCHIVED, True: COLD}
        for kill in range(kills):
            with start(url, storage, moments[kill > kills // 3]) as job:
                try:
                    assert job.wait(dice.uniform(0, 1.5)) == 0
                except subprocess.TimeoutExpired:
                    job.send_signal(signal.SIGKILL)
            assert all_event_ids(connection) == ids
            places(connection)
        run(url, storage, COLD)
        assert places(connection) == {f"{month:%Y_%m}": "cold" for month in MONTHS}
        assert all_event_ids(connection) == ids
        assert len(list((folder / "cold").iterdir())) == len(MONTHS)
        assert count(connection, "archive.files_to_delete") == 0
        for month in MONTHS:
            runs.restore(url, month)
        assert contents(connection) == contents(connection, "public.events") == before
        assert indexes(connection, "public.events_2020_01") == indexes(connection, "public.events")
        assert list((folder / "cold").iterdir()) == []
