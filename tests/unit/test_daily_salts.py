"""The cached salt of the day: how often Postgres is asked, the change of day, and days without Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from ingest_api.public import daily_salts
from ingest_api.public.daily_salts import DailySalts
from ingest_api.public.database import PostgresError

EVENING = datetime(2026, 11, 24, 23, 59, 0, tzinfo=UTC).timestamp()


class Postgres:
    """Fake Postgres whose salts are `n * 32` bytes for day n; the clock is shared with the API."""

    def __init__(self) -> None:
        self.now = EVENING
        self.salts = {20_781: b"a" * 32, 20_782: b"b" * 32}
        self.reads = 0
        self.is_away = False
        self.hangs = False

    async def load(self) -> tuple[bytes, float]:
        self.reads += 1
        await asyncio.sleep(60 if self.hangs else 0)
        if self.is_away:
            raise PostgresError(None, "connection refused")
        day, second = divmod(self.now, 86_400)
        return self.salts[int(day)], 86_400 - second


def with_salts(work: Callable[[Postgres, DailySalts], Awaitable[None]]) -> None:
    async def run() -> None:
        postgres = Postgres()
        salts = DailySalts(postgres.load, lambda: postgres.now)
        try:
            await work(postgres, salts)
        finally:
            await salts.stop()

    asyncio.run(run())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_all_requests_of_a_day_share_one_salt_and_the_next_day_has_another() -> None:
    async def work(postgres: Postgres, salts: DailySalts) -> None:
        assert set(await asyncio.gather(*(salts.today() for _ in range(100)))) == {b"a" * 32}
        postgres.now += 59
        assert (await salts.today(), postgres.reads) == (b"a" * 32, 1)
        postgres.now += 1  # midnight
        assert set(await asyncio.gather(*(salts.today() for _ in range(100)))) == {b"b" * 32}
        assert postgres.reads == 2

    with_salts(work)


def test_the_salt_is_read_again_so_that_workers_agree_after_postgres_lost_it() -> None:
    async def work(postgres: Postgres, salts: DailySalts) -> None:
        postgres.now += 60
        assert await salts.today() == b"b" * 32
        postgres.salts[20_782] = b"c" * 32
        postgres.now += daily_salts.REREAD_SECONDS
        await salts.today()  # does not wait for Postgres
        await settle()
        assert (await salts.today(), postgres.reads) == (b"c" * 32, 2)

    with_salts(work)


def test_the_cached_salt_is_used_while_postgres_is_away_but_not_after_midnight() -> None:
    async def work(postgres: Postgres, salts: DailySalts) -> None:
        await salts.today()
        postgres.is_away = True
        assert await salts.today() == b"a" * 32
        postgres.now += 60
        temporary = await salts.today()
        assert len(temporary) == 32
        assert temporary not in postgres.salts.values()
        postgres.now += 1
        assert (await salts.today(), postgres.reads) == (temporary, 2)
        postgres.now += 86_400
        assert await salts.today() != temporary, "a temporary salt does not outlive its day either"
        postgres.is_away, postgres.salts[20_783] = False, b"d" * 32
        postgres.now += daily_salts.RETRY_SECONDS
        await salts.today()
        await settle()
        assert await salts.today() == b"d" * 32

    with_salts(work)


def test_a_request_does_not_wait_long_for_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_salts, "WAIT_SECONDS", 0.05)

    async def work(postgres: Postgres, salts: DailySalts) -> None:
        postgres.hangs = True
        first = await asyncio.wait_for(salts.today(), 5)
        assert await asyncio.wait_for(salts.today(), 0.04) == first
        assert postgres.reads == 1

    with_salts(work)


def test_the_salt_leaves_memory_when_its_day_ends_without_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(postgres: Postgres, salts: DailySalts) -> None:
        postgres.now += 59.95
        await salts.today()
        await asyncio.sleep(0.1)
        assert b"a" * 32 not in vars(salts).values()

    with_salts(work)
