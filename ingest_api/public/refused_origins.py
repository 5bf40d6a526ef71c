"""Counts requests from pages whose domain is not registered for the site, and stores the counts in Postgres."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from urllib.parse import urlsplit

import msgspec

from ingest_api.public.database import Connection, PostgresError

FLUSH_SECONDS = 5.0
MAX_WAITING = 1_000
"""Maximum number of origins between two flushes; further origins are counted as `other`."""

_log = logging.getLogger(__name__)


class RefusedOriginCounter:
    """Collects counts in memory and adds them to `ops.refused_origins` every few seconds.

    Args:
        connection: A connection that nothing else uses.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._flusher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the flusher in the running event loop."""
        self._flusher = asyncio.get_running_loop().create_task(self._flush_forever())

    async def stop(self) -> None:
        """Flush the remaining counts and stop."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
            await self._flush()
        await self._connection.close()

    def note(self, site_id: str, origin: bytes) -> None:
        """Count one refused request."""
        key = (site_id, _shown(origin))
        if key not in self._waiting and len(self._waiting) >= MAX_WAITING:
            key = (site_id, "other")
        self._waiting[key] += 1

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        if not self._waiting:
            return
        taken, self._waiting = self._waiting, Counter()
        batch = msgspec.json.encode(
            [
                {"site_id": site_id, "origin": origin, "requests": requests}
                for (site_id, origin), requests in sorted(taken.items())
            ]
        ).decode()
        try:
            await self._connection.run(
                lambda connection: connection.execute("select public.land_refused_origins(%s::json)", [batch]).close()
            )
        except PostgresError as error:
            _log.warning("refused origins cannot be counted in Postgres", extra={"error": str(error)})
            self._waiting.update(taken)


def _shown(origin: bytes) -> str:
    """Return a valid origin in lower case; `other` for a value that no browser sends."""
    if origin == b"null":
        return "null"
    text = origin.decode("latin-1")
    try:
        parts = urlsplit(text)
        is_origin = bool(parts.scheme and parts.hostname) and not (parts.path or parts.query or parts.fragment)
    except ValueError:
        is_origin = False
    return text.lower() if is_origin and text.isascii() and text.isprintable() and len(text) <= 255 else "other"
