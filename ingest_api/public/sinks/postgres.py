"""Stores rows in Postgres with one statement per flush, on one connection per concurrent flush."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from ingest_api.public.database import Connection
from warehouse.events.landing import LAND, EventKey, land
from warehouse.events.schema import Row


class PostgresSink:
    """A sink that raises `PostgresError` when Postgres fails; `FallbackSink` decides whether to spool the rows.

    Args:
        url: Address of the login that may insert events.
        connections: Number of concurrent flushes.
        application: Prefix of the names shown in pg_stat_activity.
    """

    def __init__(self, url: str, connections: int, application: str = "tilda-ingest") -> None:
        self._connections = [Connection(url, f"{application}-{number}") for number in range(1, connections + 1)]
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in self._connections:
            self._idle.put_nowait(connection)

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey]:
        """Store rows (`warehouse.events.landing.land`); return the keys of the new events.

        Raises:
            PostgresError: Postgres failed. Rows may have been committed nevertheless; a retry is safe.
        """
        connection = await self._idle.get()
        try:
            return await connection.run(lambda opened: land(opened, rows))
        finally:
            self._idle.put_nowait(connection)

    async def check(self) -> None:
        """Insert an empty batch, to check the login, its privileges and the tables.

        Raises:
            PostgresError: The login, a privilege or a table is missing, or Postgres is unreachable.
        """
        connection = await self._idle.get()
        try:
            await connection.run(lambda opened: opened.execute(LAND, ["[]"]).close())
        finally:
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        """Close the connections. No call of `land` may be pending."""
        for connection in self._connections:
            await connection.close()
