"""Random kills under load: every acknowledged event is stored exactly once."""

from pathlib import Path

import pytest

from bench.crash import CrashResult, campaign, outage


def assert_nothing_lost(account: CrashResult) -> None:
    assert account.acknowledged > 300
    assert (account.missing, account.stored_twice, account.unexpected) == (0, 0, 0), account


def test_no_acknowledged_event_is_lost_over_six_kills(tmp_path: Path):
    account = campaign(tmp_path, 6, pause=0.5, seed=3)
    assert len(account.kills) >= 3
    assert_nothing_lost(account)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_acknowledged_event_is_lost_over_a_hundred_kills(tmp_path: Path):
    assert_nothing_lost(campaign(tmp_path, 100))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_acknowledged_event_is_lost_in_a_ten_minute_outage(tmp_path: Path):
    account = outage(tmp_path, 10)
    assert account.spooled > 0
    assert_nothing_lost(account)
