"""The spool is replayed as fast after a long Postgres outage as after a short one."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from ingest_api.public.database import PostgresError
from ingest_api.public.sinks import fallback, spool
from ingest_api.public.sinks.fallback import FallbackSink
from ingest_api.public.sinks.postgres import PostgresSink
from ingest_api.public.sinks.spool import SpoolSink
from warehouse.events.landing import EventKey
from warehouse.events.schema import Row
from warehouse.events.spool import Spool


class Postgres:
    """Fake Postgres that fails `absences` health checks and `refused_batches` batches, then accepts every batch."""

    def __init__(self, absences: int, refused_batches: int = 0) -> None:
        self.absences = absences
        self.refused_batches = refused_batches
        self.batches: list[int] = []

    async def check(self) -> None:
        self.absences -= 1
        if self.absences >= 0:
            raise PostgresError(None, "connection refused")

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey]:
        self.refused_batches -= 1
        if self.refused_batches >= 0:
            raise PostgresError("57014", "canceling statement due to statement timeout")
        self.batches.append(len(rows))
        return Counter()


@pytest.mark.parametrize(("absences", "refused", "fewest"), [(40, 0, 10), (0, 4, 14), (40, 30, 19)])
def test_the_spool_is_drained_in_large_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absences: int, refused: int, fewest: int
):
    monkeypatch.setattr(fallback, "FIRST_PAUSE", 0.0001)
    monkeypatch.setattr(fallback, "LONGEST_PAUSE", 0.001)
    waiting = [Row(site_id="shop", source="api", event_id=uuid4()) for _ in range(10 * spool.REPLAY_ROWS)]
    Spool(tmp_path, 2**24).append(waiting)
    postgres = Postgres(absences, refused)

    async def drain() -> None:
        fake = cast("PostgresSink", postgres)
        disk = SpoolSink(tmp_path, 2**24)
        await disk.open()
        sink = FallbackSink(fake, fake, disk)
        sink.is_away = absences > 0
        sink.start()
        while not postgres.batches or disk.depth.rows:
            await asyncio.sleep(0.01)
        await sink.stop()
        await disk.close()

    asyncio.run(asyncio.wait_for(drain(), 60))
    assert len(postgres.batches) <= fewest + 2
    assert sum(postgres.batches) == len(waiting)


def test_the_spool_depth_is_known_without_reading_rows(tmp_path: Path):
    spool = Spool(tmp_path, 2**24)
    spool.append([Row(site_id="shop", source="api", event_id=uuid4()) for _ in range(5000)])
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    spool._db.set_progress_handler(count, 1)  # pyright: ignore[reportPrivateUsage] - counts SQLite's steps
    assert spool.depth().rows == 5000
    assert steps < 200
