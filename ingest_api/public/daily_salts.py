"""Today's salt for the IDs of cookieless visitors: created by Postgres for all workers, cached here for its day."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psycopg

from ingest_api.public.database import PostgresError

REREAD_SECONDS = 300.0
"""Postgres loses the salt when it crashes or a backup is restored. Within this time, all workers use the new salt."""
RETRY_SECONDS = 5.0
WAIT_SECONDS = 2.0
"""Maximum time for which a request waits for the salt."""

_log = logging.getLogger(__name__)


def read_salt(connection: psycopg.Connection) -> tuple[bytes, float]:
    """Return today's salt and the seconds until it expires; the first call of a day creates the salt."""
    row = connection.execute("select salt, valid_seconds from public.daily_salt()").fetchone()
    assert row is not None
    return row[0], row[1]


class DailySalts:
    """Provides today's salt.

    If Postgres cannot be asked, a random salt is used until it can. It never leaves this process, so a visitor may have
    one more ID on that day for each worker; no event is lost and no address is stored.

    Args:
        load: Reads the salt and the seconds until it expires from Postgres.
        clock: Returns the time in seconds since 1970.
    """

    def __init__(
        self, load: Callable[[], Awaitable[tuple[bytes, float]]], clock: Callable[[], float] = time.time
    ) -> None:
        self._load = load
        self._clock = clock
        self._salt: bytes | None = None
        self._expires_at = 0.0
        self._read_again_at = 0.0
        self._has_failed = False
        self._reading: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    async def today(self) -> bytes:
        """Return today's salt. Only a request without a salt waits for Postgres, for at most `WAIT_SECONDS`."""
        now = self._clock()
        if now >= self._expires_at:
            self._forget()
        if now >= self._read_again_at and self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        if self._salt is None and self._reading is not None:
            await asyncio.wait([self._reading], timeout=WAIT_SECONDS)
        return self._salt or self._use_temporary()

    async def stop(self) -> None:
        """Stop reading and forget the salt."""
        self._forget()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            salt, seconds = await self._load()
        except PostgresError as error:
            self._read_again_at = self._clock() + RETRY_SECONDS
            if not self._has_failed:  # not for each retry
                _log.warning("the salt for cookieless visitors cannot be read", extra={"error": str(error)})
            self._has_failed = True
        else:
            self._has_failed = False
            self._keep(salt, seconds)
            self._read_again_at = self._clock() + min(seconds, REREAD_SECONDS)
        finally:
            self._reading = None

    def _use_temporary(self) -> bytes:
        now = datetime.fromtimestamp(self._clock(), UTC)
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        salt = secrets.token_bytes(32)
        self._keep(salt, (midnight - now).total_seconds())
        return salt

    def _keep(self, salt: bytes, seconds: float) -> None:
        self._forget()
        self._salt = salt
        self._expires_at = self._clock() + seconds
        # Without requests after midnight, the salt would otherwise stay in memory.
        self._expiry = asyncio.get_running_loop().call_later(seconds, self._forget)

    def _forget(self) -> None:
        self._salt = None
        self._expires_at = 0.0
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
