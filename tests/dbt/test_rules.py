"""The marts follow the hand-made cases of the rules of meaning: sessions, sources, orders, money, persons."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.dbt.conftest import Models
from tests.dbt.rule_cases import site_of, tab_names
from tests.dbt.rule_expectations import LEADS, ORDERS, PERSONS, SESSIONS, Session


@pytest.mark.parametrize(
    "case",
    SESSIONS,
)
def test_sessions_and_their_sources(models: Models, case: str) -> None:
    """Rows "new tab", "server-side purchase" and "only page views start a campaign session"."""
    rows = models.rows(
        f"select session_id, channel from marts.sessions where site_id = '{site_of(case)}' order by started_at"
    )
    assert [Session(tab_names(case).get(row["session_id"], ""), row["channel"]) for row in rows] == SESSIONS[case][0]


@pytest.mark.parametrize("case", SESSIONS)
def test_visits(models: Models, case: str) -> None:
    """Row "new tab": sessions without tab splits are offered as visits."""
    (row,) = models.rows(f"select sum(visits)::int as visits from marts.daily_totals where site_id = '{site_of(case)}'")
    assert row["visits"] == SESSIONS[case][1]


@pytest.mark.parametrize(
    "case",
    ORDERS,
)
def test_orders_are_counted_once_with_their_money(models: Models, case: str) -> None:
    """Rows "order 1 of two visitors", "number known to the webhook", "Tilda order", "server-side", "26th visitor"."""
    rows = models.rows(
        "select order_id, value, currency, is_confirmed_by_webhook, channel from marts.conversions"
        f" where site_id = '{site_of(case)}' and goal_id = 'purchase' order by converted_at, event_id"
    )
    found = [tuple(row.values()) for row in rows]
    assert found == [
        (order.order_id, order.amount, order.currency, order.is_confirmed, order.channel) for order in ORDERS[case]
    ]


@pytest.mark.parametrize("case", ORDERS)
def test_orders_have_a_status_and_refunds(models: Models, case: str) -> None:
    """Row "refunds": gross, refunded and net revenue; pending until money is known to have come."""
    rows = models.rows(
        "select order_id, gross, refunded, net, currency, is_confirmed, status"
        f" from marts.orders where site_id = '{site_of(case)}' order by ordered_at, order_id"
    )
    expected = [
        (
            order.order_id,
            order.amount,
            order.refunded,
            order.amount - order.refunded,
            order.currency,
            order.is_confirmed,
            order.status,
        )
        for order in ORDERS[case]
    ]
    assert [tuple(row.values()) for row in rows] == expected


@pytest.mark.parametrize("case", LEADS)
def test_a_form_that_places_an_order_is_no_lead(models: Models, case: str) -> None:
    """Row "an ordinary Tilda order": one purchase; a lead too only if a goal says so."""
    (row,) = models.rows(
        f"select count(*) as leads from marts.conversions where site_id = '{site_of(case)}' and goal_id = 'lead'"
    )
    assert row["leads"] == LEADS[case]


@pytest.mark.parametrize("case", PERSONS)
def test_different_accounts_are_different_persons(models: Models, case: str) -> None:
    """Row "two different account ids on one PC"."""
    rows = models.rows(f"select session_id, person_id from marts.sessions where site_id = '{site_of(case)}'")
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["person_id"], set()).add(tab_names(case)[row["session_id"]])
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, PERSONS[case]))


def test_amounts_of_different_currencies_are_not_added(models: Models) -> None:
    """Row "RUB 100 + USD 100": without an exchange rate, the dollars are not part of the revenue in rubles."""
    (total,) = models.rows(
        "select currency, sum(revenue) as revenue from marts.daily_totals"
        " where site_id = 'case-currencies' group by currency"
    )
    assert total == {"currency": "RUB", "revenue": 100}
    rows = models.rows(
        "select currency, revenue, revenue_reporting, orders_without_rate from marts.daily_revenue"
        " where site_id = 'case-currencies' order by currency"
    )
    assert [tuple(row.values()) for row in rows] == [("RUB", 100, 100, 0), ("USD", 100, 0, 1)]


@pytest.mark.parametrize(
    "mart",
    ["conversions", "daily_totals", "daily_metrics", "daily_acquisition", "daily_revenue"],
)
def test_a_sale_known_from_the_webhook_only_is_in_every_mart(models: Models, mart: str) -> None:
    """Row "sale known only from the webhook": revenue reconciles between all marts."""
    (row,) = models.rows(f"select sum(revenue) as revenue from marts.{mart} where site_id = 'case-webhook-only'")
    assert row["revenue"] == Decimal(700)


def test_hits_without_an_id_are_no_visitors(models: Models) -> None:
    """Row "hits without an id": flagged in the marts, left out of visitors and retention by default."""
    (total,) = models.rows("select sum(visitors)::int as n from marts.daily_totals where site_id = 'case-without-id'")
    flags = models.rows("select is_anonymous from marts.sessions where site_id = 'case-without-id'")
    (cohort,) = models.rows(
        "select sum(cohort_size)::int as n from marts.retention_cohorts"
        " where site_id = 'case-without-id' and period = 'week' and periods_later = 0"
    )
    assert (total["n"], cohort["n"], sorted(row["is_anonymous"] for row in flags)) == (1, 1, [False, True, True])


def test_last_seen_date_is_the_date_of_the_last_activity(models: Models) -> None:
    """Row "visit 23:50 to 00:10": dates agree."""
    (row,) = models.rows(
        "select last_seen_date, (last_seen_at at time zone 'Europe/Moscow')::date as day from marts.visitors"
        " where site_id = 'case-over-midnight'"
    )
    assert row["last_seen_date"] == row["day"]
