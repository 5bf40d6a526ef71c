"""`tilda check` decides from one connection whether the API sees visitors' addresses or only its reverse proxy's."""

from __future__ import annotations

import pytest

from warehouse.events.enrichment import parse_user_agent
from warehouse.sites.check import USER_AGENT, judge_address

# `ipaddress` treats the addresses reserved for documentation as private, so these are real public addresses.
PROXY_ON_THE_SAME_MACHINE = ("127.0.0.0/24", "93.184.216.5", "93.184.216.5")
PROXY_IN_A_CONTAINER = ("172.18.0.0/24", "10.0.0.5", "93.184.216.5")
PROXY_IN_THE_LOCAL_NETWORK = ("127.0.0.0/24", "192.168.1.7", "192.168.1.5")
DIRECT = ("127.0.0.0/24", "127.0.0.1", "127.0.0.1")
FORWARDED = ("93.184.216.0/24", "93.184.216.5", "93.184.216.5")
FORWARDED_6 = ("2001:db8:1::/48", "2001:db8:1::5", "2001:db8:1::5")
FORWARDED_AS_4 = ("93.184.216.0/24", "::ffff:93.184.216.5", "::ffff:93.184.216.5")
FROM_BEHIND_NAT = ("93.184.217.0/24", "192.168.1.7", "93.184.216.5")
IN_ONE_PRIVATE_NETWORK = ("192.168.1.0/24", "192.168.1.7", "192.168.1.5")
UNKNOWN_CONNECTION = ("93.184.217.0/24", None, None)


@pytest.mark.parametrize(
    "connection", [PROXY_ON_THE_SAME_MACHINE, PROXY_IN_A_CONTAINER, PROXY_IN_THE_LOCAL_NETWORK, (None, None, None)]
)
def test_the_address_of_a_proxy_fails_the_check(connection: tuple[str | None, str | None, str | None]) -> None:
    step = judge_address(*connection)
    assert step.status == "failed"
    assert "X-Forwarded-For" in (step.remedy or "")


@pytest.mark.parametrize(
    "connection",
    [
        DIRECT,
        FORWARDED,
        FORWARDED_6,
        FORWARDED_AS_4,
        FROM_BEHIND_NAT,
        IN_ONE_PRIVATE_NETWORK,
        UNKNOWN_CONNECTION,
    ],
)
def test_the_address_of_a_visitor_passes_the_check(connection: tuple[str | None, str | None, str | None]) -> None:
    assert judge_address(*connection).status == "ok"


def test_the_user_agent_of_the_check_counts_as_a_bot() -> None:
    assert parse_user_agent(USER_AGENT).is_bot
