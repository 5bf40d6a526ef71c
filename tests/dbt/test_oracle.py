"""The independent computation follows the hand-made cases. It needs no database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.dbt.cases import DELIVERIES, Site, rows_of, sites
from tests.dbt.oracle.funnels import Goal, Step, conversions, funnel
from tests.dbt.oracle.orders import orders, revenue
from tests.dbt.oracle.persons import persons
from tests.dbt.oracle.sessions import prepare, sessionise, source_rows, visits
from tests.dbt.rule_cases import BEGIN, rows_of_case, site_of, tab_names
from tests.dbt.rule_expectations import LEADS, ORDERS, PERSONS, SESSIONS, Order, Session


@pytest.mark.parametrize("case", SESSIONS)
def test_sessions_sources_and_visits(case: str) -> None:
    events = prepare(rows_of_case(case))
    sessions = sessionise(events)
    sources = source_rows(sessions)
    sessions.sort(key=lambda session: session[0]["order"])
    found = [
        Session(
            tab_names(case).get(session[0]["session"], ""),
            str(sources[site_of(case), session[0]["session"]]["channel"]),
        )
        for session in sessions
    ]
    assert (found, len(visits(events))) == SESSIONS[case]


@pytest.mark.parametrize("case", ORDERS)
def test_orders(case: str) -> None:
    events = prepare(rows_of_case(case))
    channels = {key[1]: row["channel"] for key, row in source_rows(sessionise(events)).items()}
    found = [
        Order(
            row.order_id,
            row.amount,
            row.currency,
            row.is_confirmed,
            channels.get(row.session_id) or "Unassigned",
            row.refunded,
            row.status,
        )
        for row in orders(events).itertuples()
    ]
    assert found == ORDERS[case]


def test_orders_do_not_depend_on_the_order_of_arrival() -> None:
    for case in ORDERS:
        rows = rows_of_case(case)
        one, other = (prepare(copy) for copy in (rows, rows[::-1]))
        sessionise(one)
        sessionise(other)
        assert orders(one).equals(orders(other)), case


def test_a_missing_currency_is_that_of_the_site() -> None:
    rows = rows_of_case("webhook only")
    del rows[1]["payload"]["order"]["currency"]
    events = prepare(rows)
    sessionise(events)
    assert revenue(orders(events, currency="KZT")) == {"KZT": 700}


def test_revenue_is_net_and_kept_apart_by_currency() -> None:
    for case, expected in {"currencies": {"RUB": 100, "USD": 100}, "refunds": {"RUB": 1700}}.items():
        events = prepare(rows_of_case(case))
        sessionise(events)
        assert revenue(orders(events)) == expected


@pytest.mark.parametrize("case", LEADS)
def test_a_form_that_places_an_order_is_no_lead(case: str) -> None:
    events = prepare(rows_of_case(case))
    assert len(conversions(events, Goal("form_submit"))) == LEADS[case]
    with_orders = {"tilda order": 2}.get(case, LEADS[case])
    assert len(conversions(events, Goal("form_submit", counts_orders=True))) == with_orders


@pytest.mark.parametrize("case", PERSONS)
def test_persons(case: str) -> None:
    events = prepare(rows_of_case(case))
    sessions = sessionise(events)
    person_of = persons(events)
    groups: dict[str, set[str]] = {}
    for session in sessions:
        person = person_of[str(session[0]["event_id"])]
        groups.setdefault(person, set()).add(tab_names(case)[session[0]["session"]])
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, PERSONS[case]))


@given(sites())
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_results_hold_for_any_events(site: Site) -> None:
    """Each purchase is in one order, no person has two accounts, and the order of arrival does not matter."""
    rows = [
        dict.fromkeys(("utm_campaign", "utm_content", "click_ids")) | row
        for delivery in range(DELIVERIES)
        for row in rows_of("site-1", site, delivery, BEGIN)
    ]
    domains = {"site-1": site.domains[0]}
    events = prepare(rows, domains)
    sessions = sessionise(events)
    assert sum(map(len, sessions)) <= len(events)
    assert len(visits(events)) <= len(sessions)

    table = orders(events)
    assert sum(table["record_count"]) == sum(event["event_type"] == "purchase" for event in events)
    person_of = persons(events)
    accounts: dict[str, set[str]] = {}
    for event in events:
        account = (event["payload"].get("identity") or {}).get("external_id")
        if account is not None:
            accounts.setdefault(person_of[str(event["event_id"])], set()).add(account)
    assert all(len(names) == 1 for names in accounts.values())

    again = prepare(rows[::-1], domains)
    sessionise(again)
    assert table.equals(orders(again))
    assert person_of == persons(again)


def _steps(text: str) -> list[dict[str, Any]]:
    """Return prepared events of one visitor from words such as `60:view/a/1`: minute, type and path."""
    types = {"view": "page_view", "cart": "add_to_cart", "buy": "purchase", "click": "click"}
    events: list[dict[str, Any]] = []
    for number, word in enumerate(text.split()):
        minute, _, rest = word.partition(":")
        event_type, slash, path = rest.partition("/")
        events.append(
            {
                "event_id": f"{number}",
                "user": "ann",
                "at": BEGIN + timedelta(minutes=int(minute)),
                "event_type": types[event_type],
                "page_path": slash + path or None,
                "payload": {},
            }
        )
    return events


SHOP = [Step("page_view"), Step("add_to_cart"), Step("purchase")]
PATHS = [Step("page_view", "/a/%"), Step("page_view", "/a/%"), Step("page_view", "/a/_")]


@pytest.mark.parametrize(
    ("steps", "events", "is_strict", "entries"),
    [
        # The earliest next step counts; a purchase before the cart does not.
        (SHOP, "0:view 1:buy 2:cart 3:buy", False, "023"),
        # The end of the window belongs to the entry; after it, step 1 enters again.
        (SHOP, "0:view 60:cart 61:view 62:buy", False, "01 2"),
        # One event takes one step.
        (PATHS, "0:view/a/1 1:view/a/2 2:view/b 3:view/a/3", False, "013"),
        (PATHS, "0:view/a/1 1:view/a/2 2:view/a/33 3:view", False, "01"),
        # In strict order another step of the funnel ends the entry; other events do not.
        (SHOP, "0:view 1:click 2:cart 3:buy", True, "023"),
        (SHOP, "0:view 1:view 2:cart", True, "0"),
        (SHOP, "0:view 1:view 61:view 62:cart", True, "0 23"),
        (SHOP, "0:cart 1:buy", False, ""),
    ],
)
def test_funnel_entries(steps: list[Step], events: str, is_strict: bool, entries: str) -> None:
    found = funnel(_steps(events), steps, timedelta(hours=1), is_strict=is_strict)
    assert ["".join(entry.events) for entry in found] == entries.split()
