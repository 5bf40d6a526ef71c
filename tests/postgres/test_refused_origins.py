"""Rejected origins are counted by the API and listed with the command that allows each origin."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import errors

from tests.postgres.landed import at_once, count, now
from tilda.cli import cli
from warehouse.kit.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.kit.secret_store import Secrets
from warehouse.sites.refused_origins import list_refused_origins
from warehouse.sites.registry import add_domains, add_site

LAND = "select public.land_refused_origins(%s)"


@pytest.fixture
def owner(database_url: str) -> psycopg.Connection:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    add_site(database_url, "blog", ["blog.example"], "UTC")
    return connect(database_url)


def land(connection: psycopg.Connection, *refused: tuple[str, str, int]) -> None:
    batch: list[dict[str, Any]] = [
        {"site_id": site, "origin": origin, "requests": requests} for site, origin, requests in refused
    ]
    connection.execute(LAND, [json.dumps(batch)])


def counted(connection: psycopg.Connection, site: str = "shop") -> dict[str, int]:
    query = "select origin, requests from ops.refused_origins where site_id = %s"
    return dict(connection.execute(query, [site]).fetchall())


def test_requests_are_summed_by_site_origin_and_day(owner: psycopg.Connection) -> None:
    land(owner, ("shop", "https://Copy.example", 2), ("shop", "https://copy.example", 1), ("blog", "null", 4))
    land(owner, ("shop", "https://copy.example", 10), ("shop", "https://copy.example:8443", 1))
    assert counted(owner) == {"https://copy.example": 13, "https://copy.example:8443": 1}
    assert counted(owner, "blog") == {"null": 4}
    row = owner.execute(
        "select distinct day, last_at > now() - interval '1 minute' from ops.refused_origins"
    ).fetchall()
    assert row == [(now().date(), True)]
    owner.execute("update ops.refused_origins set day = day - 1, last_at = last_at - interval '1 day'")
    land(owner, ("shop", "https://copy.example", 1))
    assert count(owner, "ops.refused_origins where origin = 'https://copy.example'") == 2


def test_entries_without_a_known_site_origin_or_count_are_ignored(owner: psycopg.Connection) -> None:
    land(owner, ("nobody", "https://a.example", 1), ("shop", "", 1), ("shop", "https://a.example", 0))
    land(owner, ("shop", "https://a.example", -1))
    owner.execute(LAND, ['[{"site_id": "shop"}, {"origin": "https://a.example", "requests": 1}, {}]'])
    owner.execute(LAND, ["[]"])
    assert count(owner, "ops.refused_origins") == 0


def test_at_most_100_origins_per_site_and_day_are_named(owner: psycopg.Connection) -> None:
    """An attacker can invent origins, so the table must not grow with their number."""
    land(owner, *(("shop", f"https://{number}.example", 1) for number in range(90)))
    land(owner, *(("shop", f"https://{number}.example", 200 - number) for number in range(80, 120)))
    found = counted(owner)
    assert len(found) == 101
    # the most frequent new origins take the ten remaining rows
    assert found["https://99.example"] == 101
    assert "https://100.example" not in found
    assert found["https://85.example"] == 1 + 115
    assert found["other"] == sum(200 - number for number in range(100, 120))
    land(owner, ("shop", "https://new.example", 5), ("blog", "https://new.example", 5))
    assert counted(owner)["other"] == found["other"] + 5
    assert counted(owner, "blog") == {"https://new.example": 5}


def test_long_origins_and_large_counts_are_limited(owner: psycopg.Connection) -> None:
    land(owner, ("shop", "https://" + "a" * 5000, 10**15))
    ((origin, requests),) = counted(owner).items()
    assert len(origin) == 255
    assert requests == 10**9


def test_concurrent_workers_do_not_deadlock_or_exceed_the_limit(database_url: str, owner: psycopg.Connection) -> None:
    def work(first: int, step: int) -> None:
        with connect(database_url) as connection:
            numbers = range(first, first + 70)[::step]
            for _ in range(5):
                land(connection, *(("shop", f"https://{number}.example", 1) for number in numbers))

    at_once(lambda: work(0, 1), lambda: work(60, -1), lambda: work(120, 1), lambda: work(30, -1))
    found = counted(owner)
    assert len(found) == 101
    assert sum(found.values()) == 4 * 5 * 70


def test_the_ingest_login_can_add_origins_but_not_read_them(
    database_url: str, owner: psycopg.Connection, secrets: Secrets
) -> None:
    with connect(replace_in_url(database_url, user=INGEST_LOGIN, password=secrets.ingest_password)) as ingest:
        land(ingest, ("shop", "https://a.example", 1))
        with pytest.raises(errors.InsufficientPrivilege):
            count(ingest, "ops.refused_origins")
    assert counted(owner) == {"https://a.example": 1}


def test_each_origin_is_listed_with_the_command_that_allows_it(database_url: str, owner: psycopg.Connection) -> None:
    land(
        owner,
        ("shop", "https://project1.tilda.ws", 3),
        ("shop", "https://xn--e1afmkfd.xn--p1ai:8443", 2),
        ("shop", "null", 5),
        ("blog", "https://shop.example", 4),
        ("shop", "https://[2001:db8::1]", 1),
    )
    found = list_refused_origins(owner, now() - timedelta(days=1))
    assert [(one.site_id, one.origin, one.requests, one.allow_with) for one in found] == [
        ("shop", "null", 5, None),
        ("blog", "https://shop.example", 4, "tilda site domain add blog shop.example"),
        ("shop", "https://project1.tilda.ws", 3, "tilda site domain add shop project1.tilda.ws"),
        ("shop", "https://xn--e1afmkfd.xn--p1ai:8443", 2, "tilda site domain add shop xn--e1afmkfd.xn--p1ai"),
        ("shop", "https://[2001:db8::1]", 1, None),
    ]
    add_domains(database_url, "shop", ["tilda.ws"])
    assert "https://project1.tilda.ws" not in {one.origin for one in list_refused_origins(owner, found[0].last_at)}
    assert {one.site_id for one in list_refused_origins(owner, found[0].last_at, "blog")} == {"blog"}


def test_the_list_sums_requests_since_a_given_time(owner: psycopg.Connection) -> None:
    land(owner, ("shop", "https://a.example", 3), ("shop", "https://b.example", 1))
    owner.execute("update ops.refused_origins set day = day - 5, last_at = last_at - interval '5 days'")
    land(owner, ("shop", "https://a.example", 4))
    week, day = (list_refused_origins(owner, now() - timedelta(days=days)) for days in (7, 1))
    assert [(one.origin, one.requests) for one in week] == [("https://a.example", 7), ("https://b.example", 1)]
    assert [(one.origin, one.requests) for one in day] == [("https://a.example", 4)]


def test_rejected_list_shows_the_origins_of_the_last_week(
    database_url: str, owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    land(owner, ("shop", "https://old.example", 9))
    owner.execute("update ops.refused_origins set day = day - 8, last_at = last_at - interval '8 days'")
    land(owner, ("shop", "https://new.example", 2))

    def tilda(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["rejected", "list", *arguments], catch_exceptions=False).output

    assert "tilda site domain add shop new.example" in tilda()
    assert "old.example" not in tilda()
    assert "old.example" in tilda("--since", f"{now() - timedelta(days=9):%Y-%m-%d}")
    assert "new.example" not in tilda("--site", "blog")
    # without --origins, the JSON output is a list of events only
    assert json.loads(tilda("--json")) == []
    (listed,) = json.loads(tilda("--origins", "--json"))
    assert (listed["origin"], listed["requests"]) == ("https://new.example", 2)
    assert listed["allow_with"] == "tilda site domain add shop new.example"
