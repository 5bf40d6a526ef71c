"""Sessions, page views, daily totals and purchases match an independent recomputation, row by row."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.dbt.conftest import Models
from tests.dbt.events import HOSTILE_SITES, TIDY_SITES, UNTIDY_SITE, of_sites
from tests.dbt.oracle.orders import orders
from tests.dbt.oracle.sessions import daily_rows, prepare, session_rows, sessionise, source_rows


def _sessions(models: Models, sites: list[str]) -> list[list[dict]]:
    return sessionise(prepare(models.rows(f"select * from public.events where {of_sites(sites)}")))


@pytest.fixture(scope="module")
def sessions(models: Models) -> list[list[dict]]:
    return _sessions(models, TIDY_SITES)


@pytest.mark.parametrize(
    "sites",
    [TIDY_SITES, [UNTIDY_SITE]],
    ids=["tidy", "untidy"],
)
def test_sessions_match_the_recomputation(models: Models, sites: list[str]) -> None:
    expected = session_rows(_sessions(models, sites))
    names = list(next(iter(expected.values())))
    modelled = {
        (row["site_id"], row["session_id"]): {name: row[name] for name in names}
        for row in models.rows(f"select * from marts.sessions where {of_sites(sites)}")
    }
    assert len(expected) > 200
    assert modelled.keys() == expected.keys()
    assert not [
        (key, name, modelled[key][name], value)
        for key, row in expected.items()
        for name, value in row.items()
        if modelled[key][name] != value
    ]


@pytest.mark.parametrize(
    "inherits",
    [False, True],
    ids=["own source", "inherited source"],
)
def test_sources_match_the_recomputation(models: Models, sessions: list[list[dict]], inherits: bool) -> None:
    expected = source_rows([session for session in sessions if bool(session[0]["inherits"]) == inherits])
    modelled = {
        (row["site_id"], row["session_id"]): {
            name: row[name] for name in ("referrer_domain", "utm_source", "utm_medium", "channel")
        }
        for row in models.rows(f"select * from marts.sessions where {of_sites(TIDY_SITES)}")
    }
    assert len(expected) > (2 if inherits else 10)
    assert {key: modelled[key] for key in expected} == expected


def test_page_views_have_the_recomputed_session_and_time(models: Models, sessions: list[list[dict]]) -> None:
    expected = {
        (event["site_id"], event["event_id"]): (event["session"], event["at"])
        for session in sessions
        for event in session
        if event["event_type"] == "page_view" and event["active"]
    }
    modelled = {
        (row["site_id"], row["event_id"]): (row["session_id"], row["viewed_at"])
        for row in models.rows(f"select * from marts.page_views where {of_sites(TIDY_SITES)}")
    }
    assert modelled == expected


def test_daily_totals_match_the_recomputation(models: Models, sessions: list[list[dict]]) -> None:
    expected = daily_rows(sessions)
    modelled = {
        (row["site_id"], row["date"]): {name: row[name] for name in ("sessions", "page_views", "visitors")}
        for row in models.rows(
            f"select * from marts.daily_totals where (sessions > 0 or page_views > 0) and {of_sites(TIDY_SITES)}"
        )
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


@pytest.mark.parametrize("site", HOSTILE_SITES)
def test_orders_match_the_recomputation(models: Models, site: str) -> None:
    events = prepare(models.rows(f"select * from public.events where site_id = '{site}'"))
    sessionise(events)
    expected = [
        (
            row.ordered_at,
            row.order_id,
            row.amount,
            row.currency,
            row.refunded,
            row.status,
            row.is_confirmed,
            row.record_count,
            row.user_id,
            row.session_id,
        )
        for row in orders(events, currency="RUB").itertuples()
    ]
    modelled = models.rows(
        "select ordered_at, order_id, gross, currency, refunded, status, is_confirmed, record_count::int, user_id,"
        f" session_id from marts.orders where site_id = '{site}'"
    )
    assert len(expected) > 20
    assert Counter(tuple(row.values()) for row in modelled) == Counter(expected)
