"""Where rows become durable: in Postgres, or on the spool while it is away, from which they are replayed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ingest_api.metrics import AWAY, REPLAYED, SPOOL_BYTES, SPOOL_ROWS
from ingest_api.postgres import Connection
from ingest_api.problems import unavailable
from ingest_api.sites import PostgresAwayError, Site
from warehouse.events.landing import EventKey
from warehouse.events.schema import Row
from warehouse.events.spool import Depth, Spool, SpoolError

REPLAY_ROWS = 1000
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
LOOK_AGAIN_SECONDS = 5.0
"""How often a process looks for what another one spooled and did not live to replay."""

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Durability:
    """Lands rows in Postgres; while it is away, spools them, tries to reach it, and then replays them in order.

    Args:
        lookup: A connection for site keys.
        replay: A connection for the replay, so that requests never wait for an attempt to reconnect.
        folder: The spool's folder.
        max_bytes: The spool's bound.
    """

    def __init__(self, lookup: Connection, replay: Connection, folder: Path, max_bytes: int) -> None:
        self._lookup = lookup
        self._replay_connection = replay
        self._folder = folder
        self._max_bytes = max_bytes
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._spool: Spool | None = None
        self._wake = asyncio.Event()
        self._replayer: asyncio.Task[None] | None = None
        self._replay_rows = REPLAY_ROWS
        self._known_sites: dict[str, Site] = {}
        self.is_away = False
        self.depth = Depth(0, 0)
        self.spool_works = True

    async def start(self) -> None:
        """Open the spool and start replaying what an earlier process left on it.

        Raises:
            SpoolError: The folder cannot be written.
        """
        self._spool = await self._on_disk(lambda: Spool(self._folder, self._max_bytes))
        await self.measure()
        if self.depth.rows:
            self._wake.set()
        self._replayer = asyncio.get_running_loop().create_task(self._replay_forever())

    async def stop(self) -> None:
        """Stop replaying; what is on the spool stays there."""
        if self._replayer is not None:
            self._replayer.cancel()
            await asyncio.gather(self._replayer, return_exceptions=True)
        if self._spool is not None:
            await self._on_disk(self._spool.close)
        self._disk.shutdown(wait=False)

    async def store(self, connection: Connection, rows: Sequence[Row]) -> Counter[EventKey] | None:
        """Make rows durable. Returns what `land` returns, or None when they are on the spool.

        Raises:
            ProblemError: Postgres is away and the spool is full or fails (503).
        """
        if not self.is_away:
            try:
                return await connection.land(rows)
            except PostgresAwayError as error:
                self._lost(error)
        try:
            await self._on_spool(lambda spool: spool.append(rows))
        except SpoolError as error:
            self.spool_works = False
            _log.error("the spool cannot take events", extra={"error": str(error)})
            raise unavailable(
                "storage_full", "The database is away and the spool is full; try again later.", 30
            ) from None
        self.spool_works = True
        self._wake.set()
        return None

    async def site_for_key(self, key: str) -> Site | None:
        """The site of a public key; while Postgres is away, as it was when it was last seen.

        Raises:
            PostgresAwayError: Postgres is away and the key was never seen.
        """
        try:
            site = await self._ask_postgres(key)
        except PostgresAwayError:
            found = await self._on_spool(lambda spool: spool.known_site(key))
            if found is None:
                raise
            return Site(*found)
        await self._remember(key, site)
        return site

    async def _ask_postgres(self, key: str) -> Site | None:
        if self.is_away:
            raise PostgresAwayError
        try:
            return await self._lookup.site_for_key(key)
        except PostgresAwayError as error:
            self._lost(error)
            raise

    async def _remember(self, key: str, site: Site | None) -> None:
        if site is not None and self._known_sites.get(key) == site:
            return
        try:
            if site is None:
                await self._on_spool(lambda spool: spool.forget_site(key))
                self._known_sites.pop(key, None)
            else:
                await self._on_spool(lambda spool: spool.remember_site(key, site.site_id, site.domains))
                self._known_sites[key] = site
        except SpoolError as error:
            _log.warning("a site could not be remembered", extra={"error": str(error)})

    async def is_reachable(self) -> bool:
        """Whether Postgres answers, asked now unless it is known to be away."""
        try:
            await self._ask_postgres("")
        except PostgresAwayError:
            return False
        return True

    def _lost(self, error: PostgresAwayError) -> None:
        if not self.is_away:
            _log.warning("Postgres is away; events go to the spool", extra={"error": str(error)})
        self._set_away(True)
        self._wake.set()

    async def _replay_forever(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._replay()
                pause = FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - the replay goes on, whatever happened to this attempt
                self._wake.set()
                if isinstance(error, PostgresAwayError):
                    self._lost(error)
                else:
                    _log.exception("the spool could not be replayed")
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - processes should not knock together
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _replay(self) -> None:
        """Reach Postgres, then land everything that waits, oldest first. Another process may be at it already."""
        if self.is_away:
            await self._replay_connection.site_for_key("")
            self._set_away(False)
            _log.warning("Postgres is back")
        await self.measure()
        if not self.depth.rows:
            return
        assert self._spool is not None
        with self._spool.replaying() as ours:
            while ours:
                waiting = await self._on_spool(lambda spool: spool.oldest(self._replay_rows))
                if not waiting:
                    await self._on_spool(Spool.shrink)
                    break
                # A batch that fails, perhaps since it takes too long, is tried in smaller pieces; they grow again.
                self._replay_rows = max(1, len(waiting) // 2)
                await self._replay_connection.land([row for _, row in waiting])
                self._replay_rows = min(2 * len(waiting), REPLAY_ROWS)
                # A kill between these two lines lands them again: the database knows their ids.
                last, _ = waiting[-1]
                await self._on_spool(lambda spool, last=last: spool.remove_until(last))
                REPLAYED.inc(len(waiting))
                await self.measure()

    def _set_away(self, away: bool) -> None:
        self.is_away = away
        AWAY.set(away)

    async def measure(self) -> Depth:
        """How much waits on the spool.

        Raises:
            SpoolError: The disk fails.
        """
        self.depth = await self._on_spool(Spool.depth)
        SPOOL_ROWS.set(self.depth.rows)
        SPOOL_BYTES.set(self.depth.size)
        return self.depth

    async def _on_spool(self, work: Callable[[Spool], _Result]) -> _Result:
        spool = self._spool
        if spool is None:
            raise SpoolError("The spool is not open.")
        return await self._on_disk(lambda: work(spool))

    async def _on_disk(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)
