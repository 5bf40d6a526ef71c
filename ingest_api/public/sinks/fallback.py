"""Stores rows in Postgres, or in the spool while Postgres is unreachable; decides which errors mean unreachable."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Sequence

from ingest_api.problems import unavailable
from ingest_api.public.database import PostgresError
from ingest_api.public.metrics import AWAY
from ingest_api.public.sinks.postgres import PostgresSink
from ingest_api.public.sinks.spool import SpoolSink
from warehouse.events.landing import EventKey
from warehouse.events.schema import Row
from warehouse.events.spool import SpoolError

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
LOOK_AGAIN_SECONDS = 5.0
"""Interval at which a process looks for rows that another process spooled before it ended."""
LOG_SECONDS = 60.0
"""Minimum time between two log records of the same refusal."""

# Classes and codes of SQLSTATE (Postgres manual, appendix A) that report the server's temporary state and not an error
# in the request.
_TRANSIENT_CLASSES = (
    "08",  # connection exceptions
    "40",  # serialization failures and deadlocks that outlasted the retries of `land`
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "57",  # operator intervention: shutdown, crash, statement timeout
    "58",  # system errors: input and output
)
_TRANSIENT_CODES = frozenset(
    {
        "25006",  # read-only transaction: a standby, or a primary that is being switched over
        "55P03",  # lock_timeout
        "55006",  # object in use: a database that is being replaced by a restored backup
    }
)
# libpq reports a refused login without SQLSTATE, only with the server's text.
_REFUSED_LOGIN = re.compile(
    r"password authentication failed|no pg_hba\.conf entry|(role|database) \"[^\"]*\" does not exist"
    r"|permission denied|not permitted to log in"
)

_log = logging.getLogger(__name__)


def is_transient(error: PostgresError) -> bool:
    """Return True if a retry may succeed without a change of privileges, tables or settings."""
    if error.sqlstate is None:
        return _REFUSED_LOGIN.search(error.message) is None
    return error.sqlstate.startswith(_TRANSIENT_CLASSES) or error.sqlstate in _TRANSIENT_CODES


class FallbackSink:
    """Stores rows in Postgres; spools them while Postgres is unreachable, and replays them in order afterwards.

    Args:
        postgres: Sink for requests.
        replay: Sink for the replay, with its own connection, so that requests never wait for a reconnect.
        spool: Sink for the time while Postgres is unreachable.

    Attributes:
        is_away: True while Postgres cannot be reached.
        refusal: The error with which Postgres refuses rows (privileges, tables); None after the next success.
    """

    def __init__(self, postgres: PostgresSink, replay: PostgresSink, spool: SpoolSink) -> None:
        self._postgres = postgres
        self._replay = replay
        self._spool = spool
        self._wake = asyncio.Event()
        self._replayer: asyncio.Task[None] | None = None
        self._logged_at: dict[str, float] = {}
        self.is_away = False
        self.refusal: PostgresError | None = None

    def start(self) -> None:
        """Start the replay, beginning with rows that an earlier process spooled."""
        if self._spool.depth.rows:
            self._wake.set()
        self._replayer = asyncio.get_running_loop().create_task(self._replay_forever())

    async def stop(self) -> None:
        """Stop the replay; rows on the spool stay there."""
        if self._replayer is not None:
            self._replayer.cancel()
            await asyncio.gather(self._replayer, return_exceptions=True)

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey] | None:
        """Make rows durable. Return the keys of the new events, or None if the rows are on the spool.

        Raises:
            ProblemError: Postgres refuses the rows, or is unreachable while the spool is full (503).
        """
        if not self.is_away:
            try:
                new = await self._postgres.land(rows)
            except PostgresError as error:
                if not is_transient(error):
                    self._refused(error)
                    detail = "The database refuses to store events until its operator corrects it."
                    raise unavailable("database_refuses", detail, 30) from None
                self._lost(error)
            else:
                self.refusal = None
                return new
        await self._spool.land(rows)
        self._wake.set()
        return None

    async def check(self) -> None:
        """Check whether Postgres accepts rows, and set `is_away` and `refusal`. Do nothing while `is_away` is True."""
        if self.is_away:
            return
        try:
            await self._postgres.check()
        except PostgresError as error:
            if is_transient(error):
                self._lost(error)
            else:
                self._refused(error)
        else:
            self.refusal = None

    def _lost(self, error: PostgresError) -> None:
        if not self.is_away:
            _log.warning("Postgres cannot be reached; events go to the spool", extra={"error": str(error)})
        self._set_away(True)
        self._wake.set()

    def _refused(self, error: PostgresError) -> None:
        self.refusal = error
        now, text = time.monotonic(), str(error)
        if now - self._logged_at.get(text, -LOG_SECONDS) >= LOG_SECONDS:
            self._logged_at = {text: now}
            _log.error("Postgres refuses to store events", extra={"error": text})

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
                await self._reconnect_and_replay()
                pause = FIRST_PAUSE
            except PostgresError as error:
                if is_transient(error):
                    self._lost(error)
                else:
                    self._set_away(False)  # Postgres is reachable, so requests get its error instead of the spool
                    self._refused(error)
            except SpoolError as error:
                _log.error("the spool cannot be read", extra={"error": str(error)})
            except Exception:  # noqa: BLE001 - logged; the next attempt may succeed
                _log.exception("the spool could not be replayed")
            else:
                continue
            self._wake.set()
            await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311 - spreads the attempts of processes
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _reconnect_and_replay(self) -> None:
        if self.is_away:
            await self._replay.check()
            self._set_away(False)
            _log.warning("Postgres can be reached again")
        await self._spool.replay(self._replay)

    def _set_away(self, away: bool) -> None:
        self.is_away = away
        AWAY.set(away)
