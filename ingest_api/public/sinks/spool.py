"""Stores rows on the local disk (`warehouse.events.spool`) in a separate thread, and replays them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ingest_api.problems import unavailable
from ingest_api.public.metrics import REPLAYED, SPOOL_BYTES, SPOOL_ROWS
from ingest_api.public.sinks.postgres import PostgresSink
from ingest_api.public.sites import Site
from warehouse.events.schema import Row
from warehouse.events.spool import Depth, KnownSite, Spool, SpoolError
from warehouse.sites.collector import CollectorSettings

REPLAY_ROWS = 1000

_Result = TypeVar("_Result")


class SpoolSink:
    """A sink on the local disk.

    Args:
        folder: The spool's folder.
        max_bytes: Maximum size of the spool's file.

    Attributes:
        depth: Rows and bytes on the spool at the last measurement.
        takes_rows: False if the last attempt to spool rows failed.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._spool: Spool | None = None
        self._replay_rows = REPLAY_ROWS
        self.depth = Depth(0, 0)
        self.takes_rows = True

    async def open(self) -> None:
        """Open the file.

        Raises:
            SpoolError: The folder cannot be written.
        """
        loop = asyncio.get_running_loop()
        self._spool = await loop.run_in_executor(self._thread, lambda: Spool(self._folder, self._max_bytes))
        await self.measure()

    async def close(self) -> None:
        """Close the file; its rows stay."""
        if self._spool is not None:
            await self._on_disk(Spool.close)
        self._thread.shutdown(wait=False)

    async def land(self, rows: Sequence[Row]) -> None:
        """Store rows on the disk; they are durable on return.

        Raises:
            ProblemError: The spool is full or its disk fails (503); no row was stored.
        """
        try:
            await self._on_disk(lambda spool: spool.append(rows))
        except SpoolError as error:
            self.takes_rows = False
            detail = "The database cannot be reached and the spool is full; try again later."
            raise unavailable("storage_full", detail, 30) from error
        self.takes_rows = True

    async def replay(self, into: PostgresSink) -> None:
        """Store all spooled rows in Postgres, oldest first, unless another process is replaying this folder.

        Raises:
            PostgresError: Postgres failed; rows that it did not store stay on the spool.
            SpoolError: The disk fails.
        """
        await self.measure()
        if not self.depth.rows:
            return
        assert self._spool is not None
        with self._spool.replaying() as is_ours:
            while is_ours:
                waiting = await self._on_disk(lambda spool: spool.oldest(self._replay_rows))
                if not waiting:
                    await self._on_disk(Spool.shrink)
                    return
                # Halve the batch after a failure, such as a statement timeout, and double it after a success.
                self._replay_rows = max(1, len(waiting) // 2)
                await into.land([row for _, row in waiting])
                self._replay_rows = min(2 * len(waiting), REPLAY_ROWS)
                # After a crash between storing and removing, the rows are replayed again as duplicates.
                last, _ = waiting[-1]
                await self._on_disk(lambda spool, last=last: spool.remove_until(last))
                REPLAYED.inc(len(waiting))
                await self.measure()

    async def measure(self) -> Depth:
        """Measure the rows and bytes on the spool.

        Raises:
            SpoolError: The disk fails.
        """
        self.depth = await self._on_disk(Spool.depth)
        SPOOL_ROWS.set(self.depth.rows)
        SPOOL_BYTES.set(self.depth.size)
        return self.depth

    async def keep_sites(self, sites: Sequence[Site]) -> None:
        """Save the list of sites, so that a process that starts without Postgres knows their keys.

        Raises:
            SpoolError: The disk fails.
        """
        known = [
            KnownSite(site.public_key, site.site_id, tuple(site.domains), site.collector.as_json()) for site in sites
        ]
        await self._on_disk(lambda spool: spool.keep_sites(known))

    async def kept_sites(self) -> list[Site]:
        """Return the saved list of sites.

        Raises:
            SpoolError: The disk fails.
        """
        return [
            Site(known.site_id, known.public_key, known.domains, CollectorSettings.from_json(known.collector))
            for known in await self._on_disk(Spool.kept_sites)
        ]

    async def _on_disk(self, work: Callable[[Spool], _Result]) -> _Result:
        spool = self._spool
        if spool is None:
            raise SpoolError("The spool is not open.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, spool)
