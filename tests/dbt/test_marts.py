"""Invariants of the marts that hold for any events."""

from __future__ import annotations

import psycopg
import pytest

from tests.dbt.conftest import Models

CREDITS = ("first_touch", "last_touch", "last_non_direct", "linear", "position_based", "time_decay")


def test_attribution_credits_of_a_conversion_sum_to_one(models: Models) -> None:
    sums = models.rows(
        f"select {', '.join(f'sum({name}) as {name}' for name in CREDITS)}"
        " from marts.attribution group by site_id, conversion_id"
    )
    assert len(sums) > 50
    for row in sums:
        assert list(row.values()) == pytest.approx([1.0] * len(CREDITS))


def test_each_visitor_is_in_one_cohort_of_each_period(models: Models) -> None:
    cohorts = models.rows(
        "select period, sum(cohort_size)::int as size from marts.retention_cohorts"
        " where periods_later = 0 group by period"
    )
    (visitors,) = models.rows("select count(*) as n from marts.visitors")
    assert {row["period"]: row["size"] for row in cohorts} == {"week": visitors["n"], "month": visitors["n"]}


def test_daily_funnels_sum_to_the_total_funnel(models: Models) -> None:
    daily = models.rows(
        "select site_id, funnel_id, step, sum(entered)::int as entered, sum(reached)::int as reached"
        " from marts.funnel_daily group by 1, 2, 3 order by 1, 2, 3"
    )
    total = models.rows("select site_id, funnel_id, step, entered, reached from marts.funnel_steps order by 1, 2, 3")
    assert daily == total
    steps = [(row["funnel_id"], row["step"]) for row in total if row["site_id"] == "moscow"]
    assert steps == [(funnel, step) for funnel in ("lead", "shop") for step in (1, 2, 3)]


def test_daily_pages_sum_to_page_views_and_sessions(models: Models) -> None:
    (pages,) = models.rows(
        "select sum(page_views)::int as views, sum(exits)::int as exits, sum(engaged_seconds) as engaged_seconds,"
        " sum(scroll_percent_sum)::int as scroll, sum(entrances)::int as entrances, sum(bounces)::int as bounces,"
        " sum(entrance_revenue) as revenue from marts.daily_pages"
    )
    (views,) = models.rows(
        "select count(*) as views, count(*) filter (where is_exit) as exits, sum(engaged_seconds) as engaged_seconds,"
        " sum(max_scroll_percent)::int as scroll from marts.page_views"
    )
    (landings,) = models.rows(
        "select count(*) as entrances, count(*) filter (where is_bounce) as bounces, sum(revenue) as revenue"
        " from marts.sessions where page_views > 0"
    )
    assert views["scroll"] > 0
    assert landings["revenue"] > 0
    assert pages == views | landings


def test_daily_acquisition_sums_to_sessions_and_conversions(models: Models) -> None:
    origin = "coalesce(referrer_domain, '(none)') as referrer_domain, coalesce(utm_campaign, '(none)') as utm_campaign"
    sums = "sum(page_views)::int as page_views, sum(engaged_seconds) as engaged_seconds"
    daily = models.rows(
        "select referrer_domain, utm_campaign, sum(sessions)::int as sessions, sum(new_visitors)::int as new_visitors,"
        f" {sums} from marts.daily_acquisition group by 1, 2 having sum(sessions) > 0 order by 1, 2"
    )
    sessions = models.rows(
        f"select {origin}, count(*) as sessions, count(*) filter (where is_new_visitor) as new_visitors,"
        f" {sums} from marts.sessions group by 1, 2 order by 1, 2"
    )
    assert len(sessions) > 3
    assert daily == sessions

    daily = models.rows(
        "select referrer_domain, utm_campaign, sum(conversions)::int as conversions, sum(revenue) as revenue"
        " from marts.daily_acquisition group by 1, 2 having sum(conversions) > 0 order by 1, 2"
    )
    conversions = models.rows(
        f"select {origin}, count(*) as conversions, coalesce(sum(revenue), 0) as revenue"
        " from marts.conversions group by 1, 2 order by 1, 2"
    )
    assert len(conversions) > 3
    assert daily == conversions


def test_analyst_reads_only_the_marts(models: Models) -> None:
    connection = models.connection
    with connection.transaction(force_rollback=True):
        connection.execute("set local role analyst")
        assert models.rows("select count(*) from marts.sessions")
        assert models.rows("select count(*) from marts.realtime_metrics")
        for private in ("intermediate.int_session_starts", "staging.stg_events", "public.events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"select count(*) from {private}")


def test_every_mart_and_column_has_a_comment_in_postgres(models: Models) -> None:
    missing = models.rows(
        """
        select c.oid::regclass as relation, a.attname from pg_class as c
        inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v')
            and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)
        """
    )
    assert not missing
