"""Lands rows in Postgres: one statement a flush, on as many connections as flushes may run at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from ingest_api.public.database import Connection
from warehouse.events.landing import LAND, EventKey, land
from warehouse.events.schema import Row


class PostgresSink:
    """A sink that raises `PostgresError` when Postgres fails; `FallbackSink` decides what that means.

    Args:
        url: Address of the login that may land events.
        connections: Flushes that may run at the same time.
        application: Prefix of the names shown in pg_stat_activity.
    """

    def __init__(self, url: str, connections: int, application: str = "tilda-ingest") -> None:
        self._connections = [Connection(url, f"{application}-{number}") for number in range(1, connections + 1)]
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in self._connections:
            self._idle.put_nowait(connection)

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey]:
        """Land rows (`warehouse.events.landing.land`); returns the keys of the events that were new.

        Raises:
            PostgresError: Postgres failed. Rows may have been committed all the same; landing them again is safe.
        """
        connection = await self._idle.get()
        try:
            return await connection.run(lambda opened: land(opened, rows))
        finally:
            self._idle.put_nowait(connection)

    async def check(self) -> None:
        """Land nothing: proves that the login, its rights and the tables are in order.

        Raises:
            PostgresError: One of them is not.
        """
        connection = await self._idle.get()
        try:
            await connection.run(lambda opened: opened.execute(LAND, ["[]"]).close())
        finally:
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        """Close the connections; nothing may be landing."""
        for connection in self._connections:
            await connection.close()
