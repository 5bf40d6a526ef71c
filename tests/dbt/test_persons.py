"""Persons match independently computed connected components. Identifiers of too many visitors join nobody."""

from __future__ import annotations

from collections import defaultdict

from tests.dbt.conftest import Models, until
from tests.dbt.events import BOUND, CROWDED_SITE, HOSTILE_SITES, TIDY_SITES, WRONG_CLOCK, of_sites
from tests.dbt.oracle.persons import persons
from tests.dbt.oracle.sessions import prepare, sessionise


@until("different accounts are different persons")
def test_persons_match_the_recomputation(models: Models) -> None:
    """Two sessions have one person in the marts if and only if they have one in the recomputation."""
    for site in (*HOSTILE_SITES, CROWDED_SITE):
        events = prepare(models.rows(f"select * from public.events where site_id = '{site}'"))
        sessions = sessionise(events)
        person_of = persons(events)
        expected: dict[str, set[object]] = defaultdict(set)
        for session in sessions:
            expected[person_of[str(session[0]["event_id"])]].add(session[0]["session"])
        modelled: dict[str, set[object]] = defaultdict(set)
        for row in models.rows(f"select session_id, person_id from marts.sessions where site_id = '{site}'"):
            modelled[row["person_id"]].add(row["session_id"])
        assert {frozenset(group) for group in modelled.values()} == {frozenset(group) for group in expected.values()}


def test_shared_identifiers_join_visitors_into_one_person(models: Models) -> None:
    """Replaced by the test above when different accounts are different persons."""
    holders: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for event in prepare(models.rows(f"select * from public.events where {of_sites(TIDY_SITES)}")):
        for kind, value in (event["payload"] or {}).get("identity", {}).items():
            holders[event["site_id"], kind, value].add(event["user"])

    person: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for (site, _, _), users in holders.items():
        if len(users) > BOUND:
            continue
        joined = {(site, user) for user in users}
        for visitor in list(joined):
            joined |= person.get(visitor, set())
        for visitor in joined:
            person[visitor] = joined

    def expected(visitor: tuple[str, str]) -> str:
        users = {user for _, user in person.get(visitor, {visitor})}
        return min(users, key=lambda user: (user.startswith("anonymous:"), user.encode()))

    modelled = {
        (row["site_id"], row["user_id"]): row["person_id"]
        for mart in ("visitors", "sessions", "page_views", "conversions")
        for row in models.rows(
            f"select distinct site_id, user_id, person_id from marts.{mart} where {of_sites(TIDY_SITES)}"
        )
    }
    assert modelled == {visitor: expected(visitor) for visitor in modelled}
    assert sum(user != who for (_, user), who in modelled.items()) > 5


def test_identifier_shared_by_too_many_visitors_joins_nobody(models: Models) -> None:
    joined = models.rows(
        "select regexp_replace(user_id, ' [0-9]+$', '') as visitors, count(distinct person_id)::int as persons"
        f" from marts.sessions where site_id = '{CROWDED_SITE}' and user_id <> '{WRONG_CLOCK}' group by 1"
    )
    few, many = BOUND, BOUND + 1
    assert {row["visitors"]: row["persons"] for row in joined} == {
        f"external {few}": 1,
        f"external {many}": many,
        f"email {few}": 1,
        f"email {many}": many,
        # Orders and forms do not identify a person. One of the visitors is the webhook.
        **{f"{kind} {visitors}": visitors - 1 for kind in ("order", "transaction") for visitors in (few, many)},
    }


def test_order_number_shared_by_too_many_visitors_is_counted_per_visitor(models: Models) -> None:
    found = models.rows(
        "select coalesce(order_id, transaction_id) as identifier, event_count::int,"
        " is_confirmed_by_webhook as confirmed from marts.conversions"
        f" where site_id = '{CROWDED_SITE}' and coalesce(order_id, transaction_id) is not null"
        " order by 1, 2 desc"
    )
    few, many = BOUND, BOUND + 1
    one_row = [{"event_count": 2 * (few - 1) + 1, "confirmed": True}]
    # Each visitor's order is one conversion, however often it is sent. The webhook's order has no visitor.
    many_rows = [*[{"event_count": 2, "confirmed": False}] * (many - 1), {"event_count": 1, "confirmed": True}]
    expected = [
        {"identifier": f"{kind} {visitors}", **row}
        for kind in ("order", "transaction")
        for visitors, rows in ((few, one_row), (many, many_rows))
        for row in rows
    ]
    assert found == expected
