"""Rate limits for the events of one address and of one site, counted by the `limits` library.

Counts are kept in this process, or in Redis if several machines share them. While Redis fails or is slow, each process
counts locally, because a rate limiter must neither lose events nor delay requests.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import cast

from limits import RateLimitItem, parse
from limits.aio.storage import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from ingest_api.problems import ProblemError
from warehouse.kit.errors import UserError

OFF = "off"
MAX_COUNTERS = 200_000
REDIS_SECONDS = 0.25
"""Timeout for Redis, in each request."""
REDIS_PAUSE_SECONDS = 10.0
"""After a failure of Redis, the process counts locally for this time before it tries Redis again."""

_log = logging.getLogger(__name__)


class LocalStorage(Storage, SlidingWindowCounterSupport):
    """Counters in memory, at most `MAX_COUNTERS`; the least recently used counter is removed first.

    The library's memory storage is unbounded and scans all counters up to 100 times per second for expired ones. With
    the addresses of a busy hour, that takes most of a CPU core.
    """

    STORAGE_SCHEME = ["tilda-local"]  # noqa: RUF012 - the library's way to register

    def __init__(self) -> None:
        super().__init__()
        self._counters: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Return no exceptions: memory does not fail."""
        return ()

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` unless the weighted sum of the current and the previous window would exceed `limit`."""
        now = time.time()
        window, previous, current = self._read(key, expiry, now)
        if math.floor(previous * (1 - now / expiry % 1) + current) + amount > limit:
            return False
        self._counters[key] = (window, previous, current + amount)
        self._counters.move_to_end(key)
        if len(self._counters) > MAX_COUNTERS:
            self._counters.popitem(last=False)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count and time to live (seconds) of the previous window, then of the current one."""
        now = time.time()
        _, previous, current = self._read(key, expiry, now)
        left = (1 - now / expiry % 1) * expiry
        return previous, left if previous else 0.0, current, left + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002
        """Remove a counter."""
        self._counters.pop(key, None)

    def _read(self, key: str, expiry: int, now: float) -> tuple[int, int, int]:
        window = int(now // expiry)
        counted, previous, current = self._counters.get(key, (window, 0, 0))
        if counted == window:
            return window, previous, current
        return window, current if counted == window - 1 else 0, 0

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Raise NotImplementedError: only the sliding window counter is used."""
        raise NotImplementedError

    get = get_expiry = check = reset = clear = incr  # pyright: ignore[reportAssignmentType]


class RateLimits:
    """The rate limits per address and per site.

    Args:
        per_address: Limit for one address, such as `500/5 minutes`, or `off`.
        per_site: Limit for all senders of one site, in the same format.
        storage_url: `redis://…` for several machines; None keeps the counts in this process.

    Raises:
        UserError: A limit or the storage URL is invalid.
    """

    def __init__(self, per_address: str, per_site: str, storage_url: str | None = None) -> None:
        self._per_address = _parse("RATE_LIMIT_PER_IP", per_address)
        self._per_site = _parse("RATE_LIMIT_PER_SITE", per_site)
        self._local = _Counters(LocalStorage())
        self._shared = None if storage_url is None else _Counters(_redis(storage_url))
        self._shared_again_at = 0.0

    async def take(self, *, address: str | None, site_id: str, events: int) -> None:
        """Count the events of one request.

        Raises:
            ProblemError: A limit is exceeded (429); no event of this request may be stored.
        """
        if self._per_address is not None and address is not None:
            await self._take(self._per_address, "address", _network(address), events)
        if self._per_site is not None:
            await self._take(self._per_site, "site", site_id, events)

    async def _take(self, bound: RateLimitItem, what: str, who: str, events: int) -> None:
        # A cost above the limit would never pass, and its sender would retry endlessly.
        cost = min(max(events, 1), bound.amount)
        windows = await self._hit(bound, what, who, cost)
        if windows is None:
            return
        wait = _seconds_until(cost, bound, windows)
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"rate_limited_{what}",
            f"This {what} exceeds its rate limit of events ({bound}); retry after {wait} seconds.",
            retry_after=wait,
        )

    async def _hit(self, bound: RateLimitItem, what: str, who: str, cost: int) -> _Windows | None:
        """Count `cost`. Return None if it is within the limit, else the windows, from which the wait follows."""
        if self._shared is not None and time.monotonic() >= self._shared_again_at:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await self._shared.hit(bound, what, who, cost)
            except (StorageError, TimeoutError) as error:
                self._shared_again_at = time.monotonic() + REDIS_PAUSE_SECONDS
                reason = {"error": str(error) or type(error).__name__}
                _log.error("Redis does not count rate limits; this process counts locally", extra=reason)
        return await self._local.hit(bound, what, who, cost)


_Windows = tuple[int, float, int, float]


class _Counters:
    """A storage of counts and the library's limiter that uses it."""

    def __init__(self, storage: Storage) -> None:
        self._windows = cast("SlidingWindowCounterSupport", storage)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, bound: RateLimitItem, what: str, who: str, cost: int) -> _Windows | None:
        if await self._limiter.hit(bound, what, who, cost=cost):
            return None
        return await self._windows.get_sliding_window(bound.key_for(what, who), bound.get_expiry())


def _seconds_until(cost: int, bound: RateLimitItem, windows: _Windows) -> int:
    """Return the seconds until `cost` fits.

    The previous window's weight falls with time; then the current window becomes the previous one.
    """
    previous, previous_left, current, current_left = windows
    window = bound.get_expiry()
    room = bound.amount - cost
    if current <= room:
        wait = previous_left - (room - current + 1) * window / previous if previous else 0.0
    else:
        wait = current_left - window + window * (1 - (room + 1) / current)
    return max(1, math.floor(wait + 0.01) + 1)


def _network(address: str) -> str:
    """Return the addresses that one customer of a provider usually has: an IPv4 address or an IPv6 /64."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address


def _parse(name: str, text: str) -> RateLimitItem | None:
    if text.strip().lower() == OFF:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(
            f"{name} is {text!r}, which is not a rate limit.", "Write it like 500/5 minutes, or off."
        ) from error


def _redis(url: str) -> Storage:
    options: dict[str, float | str | bool] = {
        "socket_timeout": REDIS_SECONDS,
        "socket_connect_timeout": REDIS_SECONDS,
    }
    try:
        storage = storage_from_string(f"async+{url}", wrap_exceptions=True, implementation="redispy", **options)
        return cast("Storage", storage)
    except (ConfigurationError, ValueError) as error:
        raise UserError("RATE_LIMIT_STORAGE_URL cannot be used.", "Write it like redis://host:6379/0.") from error
