"""The cache of sites: lookups by key, queries to Postgres, and which page origins may send events."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from ingest_api.problems import ProblemError
from ingest_api.public import sites
from ingest_api.public.database import PostgresError
from ingest_api.public.sites import Site, SiteRegistry

SHOP = Site("shop", "pk_shop", ("shop.example",))
BLOG = Site("blog", "pk_blog", ())


class Postgres:
    """Fake Postgres that stores sites, counts reads, and fails while `is_away` is set."""

    def __init__(self, *held: Site) -> None:
        self.held = list(held)
        self.reads = 0
        self.is_away = False
        self.kept: list[Site] = []

    async def load(self) -> Sequence[Site]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise PostgresError(None, "connection refused")
        return list(self.held)

    async def restore(self) -> Sequence[Site]:
        return self.kept

    async def keep(self, held: Sequence[Site]) -> None:
        self.kept = list(held)


def with_registry(postgres: Postgres, work: Callable[[SiteRegistry], Awaitable[None]]) -> None:
    async def run() -> None:
        registry = SiteRegistry(postgres.load, postgres.restore, postgres.keep)
        await registry.start()
        try:
            await work(registry)
        finally:
            await registry.stop()

    asyncio.run(run())


async def code_of(registry: SiteRegistry, key: str) -> str:
    with pytest.raises(ProblemError) as refused:
        await registry.by_key(key)
    return refused.value.code


def test_a_thousand_unknown_keys_cause_one_query():
    postgres = Postgres(SHOP)

    async def work(registry: SiteRegistry) -> None:
        before = postgres.reads
        codes = await asyncio.gather(*(code_of(registry, f"pk_{number}") for number in range(1_000)))
        assert (codes.count("unknown_key"), codes.count("busy")) == (500, 500)
        assert postgres.reads == before + 1
        assert await registry.by_key("pk_shop") is await registry.by_key("pk_shop")
        assert postgres.reads == before + 1

    with_registry(postgres, work)


def test_a_new_site_is_found_at_once_and_a_removed_site_is_rejected():
    postgres = Postgres(SHOP)

    async def work(registry: SiteRegistry) -> None:
        assert registry.only_site() == SHOP
        postgres.held = [SHOP, BLOG]
        assert await registry.by_key("pk_blog") == BLOG
        assert registry.only_site() is None, "two sites are open"
        postgres.held = [BLOG]
        await registry.refresh()
        assert await code_of(registry, "pk_shop") == "unknown_key"
        assert postgres.kept == [BLOG]

    with_registry(postgres, work)


def test_a_start_without_postgres_uses_the_saved_sites():
    postgres = Postgres()
    postgres.kept, postgres.is_away = [SHOP], True

    async def work(registry: SiteRegistry) -> None:
        assert await registry.by_key("pk_shop") == SHOP
        assert await code_of(registry, "pk_new") == "database_away", (
            "the site may exist, so the sender must keep its events"
        )
        assert postgres.kept == [SHOP]

    with_registry(postgres, work)


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (None, True),
        (b"https://shop.example", True),
        (b"https://www.SHOP.example:8443", True),
        (b"http://a.b.shop.example", True),
        (b"https://evilshop.example", False),
        (b"https://shop.example.evil.org", False),
        (b"null", False),
        (b"https://[", False),
        (b"https://" + b"a" * 300 + b".shop.example", False),
    ],
)
def test_origins_are_allowed_by_the_sites_domains(origin: bytes | None, is_allowed: bool):
    site = Site("shop", "pk", ("shop.example",))
    assert site.allows(origin) is is_allowed
    assert site.allows(origin) is is_allowed, "the cached answer differs"
    assert BLOG.allows(origin)


def test_the_cache_of_origins_is_bounded():
    site = Site("shop", "pk", ("shop.example",))
    for number in range(5_000):
        site.allows(b"https://%d.shop.example" % number)
    assert len(site._allowed) <= sites.MAX_ORIGINS  # pyright: ignore[reportPrivateUsage]
