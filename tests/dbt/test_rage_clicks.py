"""The analysis of rage clicks, on clicks with a known answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tests.conftest import TEMPLATE
from tests.dbt.dbt_project import run_dbt
from tests.dbt.events import add_sites, insert_events
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres

DATABASE = "rage_clicks"
NOW = datetime.now(UTC) - timedelta(hours=1)
Clicks = list[tuple[float, int, int]]
"""Clicks as (seconds, x, y)."""

BURSTS: dict[str, tuple[Clicks, int]] = {
    "three in a second": ([(0, 100, 100), (0.4, 110, 95), (1.0, 100, 100)], 3),
    "five are one burst": ([(0, 9, 9), (0.3, 9, 9), (0.6, 9, 9), (0.9, 9, 9), (1.8, 9, 9)], 4),
    "seven are one burst": ([(step * 0.4, 50, 50) for step in range(7)], 7),
    "two": ([(0, 1, 1), (0.2, 1, 1)], 0),
    "too slow": ([(0, 1, 1), (0.6, 1, 1), (1.2, 1, 1)], 0),
    "too far": ([(0, 1, 1), (0.2, 32, 1), (0.4, 1, 1)], 0),
    "drifting": ([(0, 0, 0), (0.2, 25, 0), (0.4, 50, 0)], 0),
    "diagonal": ([(0, 0, 0), (0.2, 25, 25), (0.4, 0, 0)], 0),
}


def click(page: str, at: datetime, x: int, y: int, *, view: str, user: str) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "site_id": "moscow",
        "user_id": user,
        "event_type": "click",
        "created_at": at,
        "received_at": at,
        "page_path": page,
        "target_element": "#buy",
        "payload": {"page_view_id": view, "click": {"x": x, "y": y, "button": 0}},
    }


@pytest.fixture(scope="module")
def rows(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """Return the rows of the analysis, run on the clicks of `BURSTS` and on clicks that must not be joined."""
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(DATABASE), sql.Identifier(TEMPLATE))
        )
    target = tmp_path_factory.mktemp("dbt")
    url = replace_in_url(postgres_server.url("postgres"), database=DATABASE)
    events = [
        click(name, NOW + timedelta(seconds=seconds), x, y, view=name, user=name)
        for name, (clicks, _) in BURSTS.items()
        for seconds, x, y in clicks
    ]
    # Three visitors click the same place at the same time.
    events += [click("crowd", NOW, 1, 1, view=f"crowd {number}", user=f"crowd {number}") for number in range(3)]
    # One visitor has two bursts at different places of one page view, without a pause.
    for offset, x in ((0, 10), (0.9, 500)):
        for step in range(3):
            at = NOW + timedelta(seconds=offset + step * 0.3)
            events.append(click("twice", at, x, 10, view="twice", user="twice"))
    # Last month's clicks are outside the period.
    events += [
        click("old", NOW - timedelta(days=29), 1, step, view="old", user="old") | {"event_id": uuid4()}
        for step in range(3)
    ]
    run_dbt(url, target, "compile", "--select", "rage_clicks")
    (compiled,) = Path(target).glob("compiled/**/rage_clicks.sql")
    with psycopg.connect(url, row_factory=dict_row) as connection:  # type: ignore[arg-type]
        add_sites(connection)
        insert_events(connection, events)
        yield connection.execute(compiled.read_text(encoding="utf-8")).fetchall()  # type: ignore[misc]


@pytest.mark.parametrize("name", BURSTS)
def test_burst_is_found(rows: list[dict[str, Any]], name: str) -> None:
    expected = BURSTS[name][1]
    found = [(row["target_element"], row["bursts"], row["clicks"]) for row in rows if row["page_path"] == name]
    assert found == ([("#buy", 1, expected)] if expected else [])


def test_bursts_at_two_places_count_twice_for_one_visitor(rows: list[dict[str, Any]]) -> None:
    [row] = [row for row in rows if row["page_path"] == "twice"]
    assert (row["bursts"], row["clicks"], row["visitors"]) == (2, 6, 1)


def test_clicks_of_several_visitors_or_of_last_month_are_no_burst(rows: list[dict[str, Any]]) -> None:
    assert {row["page_path"] for row in rows} & {"crowd", "old"} == set()
