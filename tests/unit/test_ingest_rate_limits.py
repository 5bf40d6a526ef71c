"""Rate limits: which batches are accepted, which are rejected, and when a retry succeeds."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from ingest_api.problems import ProblemError
from ingest_api.public import rate_limits
from ingest_api.public.rate_limits import RateLimits
from warehouse.kit.errors import UserError


class Clock:
    now = 1_800_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(rate_limits.time, "time", lambda: clock.now)
    return clock


def take(limits: RateLimits, events: int, address: str | None = "192.0.2.1", site: str = "shop") -> int:
    """Return 0 if the events are accepted, otherwise the seconds of Retry-After."""
    try:
        asyncio.run(limits.take(address=address, site_id=site, events=events))
    except ProblemError as refused:
        return int(refused.headers["Retry-After"])
    return 0


def test_a_retry_succeeds_after_retry_after_and_not_much_sooner(clock: Clock):
    for first, second in ((500, 1), (500, 500), (400, 300), (1, 500)):
        for at in (0, 1, 150, 299):
            limits = RateLimits("500/5 minutes", "off")
            clock.now = 1_800_000_000.0 + at
            assert take(limits, first) == 0
            wait = take(limits, second)
            assert 0 < wait <= 600, (first, second, at)
            retry_at = clock.now + wait
            clock.now = retry_at - 0.1 * wait - 3
            assert take(limits, second) > 0, (first, second, at)
            clock.now = retry_at
            assert take(limits, second) == 0, (first, second, at)


def test_no_window_exceeds_the_limit_by_more_than_15_percent(clock: Clock):
    limits = RateLimits("100/1 minute", "off")
    passed: list[float] = []
    for second in range(600):
        clock.now = 1_800_000_000.0 + second
        passed += [clock.now] * sum(take(limits, 1) == 0 for _ in range(5))
    for start in range(0, 600, 7):
        moment = 1_800_000_000.0 + start
        # The sliding window assumes that the previous window's events were evenly spread, so it is off by some percent.
        assert sum(moment <= one < moment + 60 for one in passed) <= 115


def test_a_rejected_batch_is_not_counted(clock: Clock):
    limits = RateLimits("10/1 minute", "off")
    assert take(limits, 8) == 0
    assert take(limits, 5) > 0
    assert take(limits, 2) == 0


def test_ipv6_addresses_of_one_64_network_share_a_limit(clock: Clock):
    limits = RateLimits("10/1 minute", "off")
    assert take(limits, 10, "2001:db8:1:2::1") == 0
    assert take(limits, 1, "2001:db8:1:2:ffff::9") > 0
    assert take(limits, 1, "2001:db8:1:3::1") == 0
    assert take(limits, 1, "192.0.2.1") == 0
    assert take(limits, 10_000, None) == 0  # a request without an address has no limit per address


def test_the_number_of_counters_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rate_limits, "MAX_COUNTERS", 50)
    limits = RateLimits("10/1 minute", "off")
    for number in range(500):
        take(limits, 10, f"10.0.{number // 250}.{number % 250}")
    assert take(limits, 1, "10.0.1.249") > 0
    assert take(limits, 1, "10.0.0.0") == 0


@pytest.fixture
def silent_redis() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("is_silent", [True, False])
def test_the_process_counts_in_memory_while_redis_is_down_or_hangs(silent_redis: str, is_silent: bool):
    limits = RateLimits("2/minute", "off", silent_redis if is_silent else "redis://127.0.0.1:1/0")

    async def count() -> list[bool]:
        passed: list[bool] = []
        for _ in range(4):
            try:
                await limits.take(address="192.0.2.1", site_id="shop", events=1)
                passed.append(True)
            except ProblemError:
                passed.append(False)
        return passed

    started = time.monotonic()
    assert asyncio.run(count()) == [True, True, False, False]
    # Only the first call may wait for a timeout. Four timeouts, or redis-py's default of several seconds, take longer.
    assert time.monotonic() - started < 4 * rate_limits.REDIS_SECONDS


@pytest.mark.parametrize(("per_address", "storage"), [("many", None), ("500", None), ("1/minute", "nonsense://x")])
def test_invalid_rate_limit_settings_are_named(per_address: str, storage: str | None):
    with pytest.raises(UserError, match="RATE_LIMIT_"):
        RateLimits(per_address, "off", storage)
