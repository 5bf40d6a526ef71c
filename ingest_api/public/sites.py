"""The registered sites: a snapshot in memory, refreshed from Postgres and saved on disk for a start without it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import psycopg

from ingest_api.problems import ProblemError, unavailable
from ingest_api.public.database import PostgresError
from warehouse.events.spool import SpoolError
from warehouse.kit.addresses import is_within
from warehouse.sites.collector import DEFAULTS, CollectorSettings

REFRESH_SECONDS = 30.0
"""Time between refreshes: the delay until a change of a site's settings or the removal of a site takes effect."""
UNKNOWN_KEY_SECONDS = 0.1
"""Minimum time between two refreshes caused by unknown keys. A new site works at once, while a sender of random keys
causes at most ten queries per second."""
MAX_WAITING = 500
"""Maximum number of requests with unknown keys that wait for a refresh."""
MAX_ORIGIN_BYTES = 255
MAX_ORIGINS = 100
"""Maximum number of cached origins per site."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """The settings of a site that the API needs.

    Attributes:
        site_id: The site's ID.
        public_key: The key that identifies the site in requests.
        domains: Host names in lower case without `www.`; each includes its subdomains. If empty, any page may send.
        collector: Settings of the collector.
    """

    site_id: str
    public_key: str
    domains: tuple[str, ...]
    collector: CollectorSettings = DEFAULTS
    _allowed: dict[bytes, bool] = field(default_factory=dict, compare=False, repr=False)

    def allows(self, origin: bytes | None) -> bool:
        """Return True if a page of this origin may send events.

        A request without an `Origin` header is allowed: it comes from a server, which could send any origin.
        """
        if origin is None or not self.domains:
            return True
        known = self._allowed.get(origin)
        if known is None:
            known = _is_covered(origin, self.domains)
            if len(origin) <= MAX_ORIGIN_BYTES and len(self._allowed) < MAX_ORIGINS:
                self._allowed[origin] = known
        return known


def read_sites(connection: psycopg.Connection) -> list[Site]:
    """Read all sites from Postgres."""
    rows = connection.execute("select site_id, public_key, domains, collector from public.list_sites()").fetchall()
    return [
        Site(site_id, key, tuple(map(_host_name, domains)), CollectorSettings.from_json(collector))
        for site_id, key, domains, collector in rows
    ]


class SiteRegistry:
    """Finds sites by public key without a query per request.

    Args:
        load: Reads all sites from Postgres.
        restore: Reads the snapshot that an earlier process saved on disk.
        keep: Saves a snapshot on disk.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Sequence[Site]]],
        restore: Callable[[], Awaitable[Sequence[Site]]],
        keep: Callable[[Sequence[Site]], Awaitable[None]],
    ) -> None:
        self._load = load
        self._restore = restore
        self._keep = keep
        self._by_key: dict[str, Site] = {}
        self._kept: list[Site] | None = None
        self._loaded_at = -REFRESH_SECONDS
        self._is_current = False
        self._reading = asyncio.Lock()
        self._next_refresh: asyncio.Task[None] | None = None
        self._waiting = 0
        self._timer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the sites and start refreshing them."""
        self._kept = list(await self._restore())
        self._by_key = {site.public_key: site for site in self._kept}
        await self.refresh()
        self._timer = asyncio.get_running_loop().create_task(self._refresh_forever())

    async def stop(self) -> None:
        """Stop refreshing."""
        tasks = [task for task in (self._timer, self._next_refresh) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def by_key(self, key: str) -> Site:
        """Return the site of a public key.

        Raises:
            ProblemError: No site has the key (401); or the key is not in the snapshot, and Postgres is unreachable or
                too many requests wait for a refresh (503).
        """
        site = self._by_key.get(key)
        if site is None:
            await self._refresh_for_unknown_key()
            site = self._by_key.get(key)
        if site is not None:
            return site
        if not self._is_current:
            raise unavailable(
                "database_away", "The key is unknown, and the database cannot be reached to look it up.", 5
            )
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "unknown_key",
            "No site has this key; `tilda site list` shows the keys.",
            headers={"WWW-Authenticate": "apikey"},
        )

    def only_site(self) -> Site | None:
        """Return the site if exactly one is registered, else None."""
        return next(iter(self._by_key.values())) if len(self._by_key) == 1 else None

    async def refresh(self) -> None:
        """Read the sites again; after a failure, keep the current snapshot."""
        async with self._reading:
            await self._read()

    async def _refresh_for_unknown_key(self) -> None:
        """Wait for a refresh that starts after this call; all waiting calls share it."""
        if self._waiting >= MAX_WAITING:
            raise unavailable("busy", "Too many unknown keys are being looked up; try again shortly.", 2)
        if self._next_refresh is None:
            self._next_refresh = asyncio.get_running_loop().create_task(self._refresh_soon())
        self._waiting += 1
        try:
            await asyncio.shield(self._next_refresh)
        finally:
            self._waiting -= 1

    async def _refresh_soon(self) -> None:
        await asyncio.sleep(self._loaded_at + UNKNOWN_KEY_SECONDS - time.monotonic())
        async with self._reading:
            self._next_refresh = None
            await self._read()

    async def _read(self) -> None:
        try:
            sites = list(await self._load())
        except PostgresError:
            self._is_current = False
            self._loaded_at = time.monotonic()
            return
        self._by_key = {site.public_key: self._reuse_if_unchanged(site) for site in sites}
        self._is_current = True
        self._loaded_at = time.monotonic()
        if sites != self._kept:
            try:
                await self._keep(sites)
                self._kept = sites
            except SpoolError as error:
                _log.warning("the list of sites cannot be written to disk", extra={"error": str(error)})

    def _reuse_if_unchanged(self, site: Site) -> Site:
        """Return the existing object of an unchanged site, to keep its cached origins."""
        known = self._by_key.get(site.public_key)
        return known if known is not None and known == site else site

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()


def _is_covered(origin: bytes, domains: tuple[str, ...]) -> bool:
    if len(origin) > MAX_ORIGIN_BYTES:
        return False
    try:
        host = (urlsplit(origin.decode("latin-1")).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    return is_within(host, domains)


def _host_name(domain: str) -> str:
    """Convert a domain to its form in an origin: lower case, punycode. Remove `www.`: a domain includes subdomains."""
    name = domain.strip().rstrip(".").lower().removeprefix("www.")
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
