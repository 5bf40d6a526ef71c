"""Sessions, page views, daily totals and purchases match an independent recomputation, row by row."""

from __future__ import annotations

import pytest

from tests.dbt.conftest import Models
from tests.dbt.events import CROWDED_SITE
from tests.dbt.recomputed import daily_rows, prepare, session_rows, sessionise


@pytest.fixture(scope="module")
def sessions(models: Models) -> list[list[dict]]:
    return sessionise(prepare(models.rows("select * from public.events")))


def test_sessions_match_the_recomputation(models: Models, sessions: list[list[dict]]) -> None:
    expected = session_rows(sessions)
    names = list(next(iter(expected.values())))
    modelled = {
        (row["site_id"], row["session_id"]): {name: row[name] for name in names}
        for row in models.rows("select * from marts.sessions")
    }
    assert len(expected) > 1000
    assert modelled.keys() == expected.keys()
    assert not [
        (key, name, modelled[key][name], value)
        for key, row in expected.items()
        for name, value in row.items()
        if modelled[key][name] != value
    ]


def test_page_views_have_the_recomputed_session_and_time(models: Models, sessions: list[list[dict]]) -> None:
    expected = {
        (event["site_id"], event["event_id"]): (event["session"], event["at"])
        for session in sessions
        for event in session
        if event["event_type"] == "page_view" and event["active"]
    }
    modelled = {
        (row["site_id"], row["event_id"]): (row["session_id"], row["viewed_at"])
        for row in models.rows("select * from marts.page_views")
    }
    assert modelled == expected


def test_daily_totals_match_the_recomputation(models: Models, sessions: list[list[dict]]) -> None:
    expected = daily_rows(sessions)
    modelled = {
        (row["site_id"], row["date"]): {name: row[name] for name in ("sessions", "visits", "page_views", "visitors")}
        for row in models.rows("select * from marts.daily_totals where sessions > 0 or page_views > 0")
    }
    assert modelled == expected


def test_daily_metrics_sum_to_daily_totals(models: Models) -> None:
    assert not models.rows(
        """
        select * from (
            select site_id, date, sum(sessions) as sessions, sum(page_views) as page_views, sum(bounces) as bounces,
                sum(engaged_seconds) as engaged_seconds, sum(conversions) as conversions, sum(revenue) as revenue
            from marts.daily_metrics group by site_id, date
        ) as parts
        full join marts.daily_totals as whole
            using (site_id, date, sessions, page_views, bounces, engaged_seconds, conversions, revenue)
        where whole.visitors is null or parts.site_id is null
        """
    )


def test_each_order_is_one_purchase(models: Models) -> None:
    stored = prepare(models.rows(f"select * from public.events where site_id <> '{CROWDED_SITE}'"))
    expected = {(e["site_id"], e["payload"]["order"]["id"]) for e in stored if e["event_type"] == "purchase"}
    modelled = models.rows(
        f"select * from marts.conversions where goal_id = 'purchase' and site_id <> '{CROWDED_SITE}'"
    )
    assert {(row["site_id"], row["order_id"]) for row in modelled} == expected
    assert len(modelled) == len(expected)
