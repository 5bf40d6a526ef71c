"""The sites that public keys name, remembered for a while, and for as long as Postgres is away."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from ingest_api.problems import ProblemError, unavailable

FRESH_SECONDS = 30.0
"""How long a change of a site's domains, or its removal, may take to be noticed."""
UNKNOWN_SECONDS = 5.0
"""How soon a new site's key is noticed after it was refused."""
MAX_KNOWN = 10_000
MAX_UNKNOWN = 10_000
MAX_WAITING = 200

ONLY_SITE = "the only site"
"""In place of a key: the site, when the database holds one alone. No request's key holds a space."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Site:
    """A site as the API needs it. `domains` are host names in lower case; each covers its subdomains."""

    site_id: str
    domains: tuple[str, ...]


class PostgresAwayError(Exception):
    """Postgres does not answer now."""


class Sites:
    """Finds sites by key.

    Args:
        ask: Asks Postgres; None for an unknown key.

    Raises:
        PostgresAwayError: From `ask`.
    """

    def __init__(self, ask: Callable[[str], Coroutine[None, None, Site | None]]) -> None:
        self._ask = ask
        self._known: OrderedDict[str, tuple[Site, float]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Site | None]] = {}

    async def find(self, key: str) -> Site:
        """The site of a key. One that is known is answered at once, and asked again in the background when old.

        Raises:
            ProblemError: No site has the key (401), or it cannot be told now (503).
        """
        found = self._known.get(key)
        now = time.monotonic()
        if found is not None:
            site, asked_at = found
            if now - asked_at > FRESH_SECONDS and key not in self._asking:
                self._known[key] = (site, now)
                self._start_asking(key)
            return site
        if self._unknown.get(key, 0.0) > now:
            raise _unknown_key()
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= MAX_WAITING:
                raise unavailable("busy", "Too many unknown keys are being looked up; try again shortly.", 2)
            task = self._start_asking(key)
        try:
            site = await asyncio.shield(task)
        except PostgresAwayError:
            raise unavailable("database_away", "This key is not known yet and the database is away.", 5) from None
        if site is None:
            raise _unknown_key()
        return site

    def _start_asking(self, key: str) -> asyncio.Task[Site | None]:
        task = asyncio.get_running_loop().create_task(self._ask(key))
        self._asking[key] = task
        task.add_done_callback(lambda done: self._learn(key, done))
        return task

    def _learn(self, key: str, done: asyncio.Task[Site | None]) -> None:
        del self._asking[key]
        if done.cancelled() or done.exception() is not None:
            return  # what was known stays known while Postgres is away
        site, now = done.result(), time.monotonic()
        if site is None:
            self._known.pop(key, None)
            self._unknown[key] = now + UNKNOWN_SECONDS
            _bound(self._unknown, MAX_UNKNOWN)
        else:
            self._unknown.pop(key, None)
            self._known[key] = (site, now)
            _bound(self._known, MAX_KNOWN)


def _bound(cache: OrderedDict[str, _Value], most: int) -> None:
    while len(cache) > most:
        cache.popitem(last=False)


def _unknown_key() -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "unknown_key",
        "No site has this key; `tilda site list` shows the keys.",
        headers={"WWW-Authenticate": "apikey"},
    )
