"""Persons: devices with one account are joined, accounts never are, and each session belongs to the active account."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.dbt.conftest import Models
from tests.dbt.events import BEGIN, BOUND, CROWDED_SITE, SHARED_DEVICES_SITE, WRONG_CLOCK

Sessions = dict[tuple[str, int], str]


@pytest.fixture(scope="module")
def persons(models: Models) -> Sessions:
    """Return the person of each session of `SHARED_DEVICES_SITE`, by device and day."""
    rows = models.rows(f"select * from marts.sessions where site_id = '{SHARED_DEVICES_SITE}'")
    assert rows
    return {(row["user_id"], (row["started_at"] - BEGIN) // timedelta(days=1)): row["person_id"] for row in rows}


def test_devices_with_the_same_account_are_one_person(persons: Sessions) -> None:
    assert persons["laptop", 0] == persons["telephone", 0]


def test_sessions_before_the_first_account_belong_to_it(persons: Sessions) -> None:
    assert persons["tablet", 0] == persons["tablet", 1] == persons["laptop", 0]


def test_two_account_ids_are_never_one_person_and_each_session_belongs_to_the_active_one(persons: Sessions) -> None:
    ann, bob = persons["laptop", 0], persons["bob's telephone", 0]
    assert ann != bob
    assert [persons["shared computer", day] for day in range(5)] == [ann, ann, bob, bob, ann]


def test_an_email_address_belongs_to_the_account_id_it_was_sent_with(persons: Sessions) -> None:
    assert persons["ann's other telephone", 0] == persons["laptop", 0]


def test_an_email_address_of_two_account_ids_joins_neither(persons: Sessions) -> None:
    assert len({persons["family, ann", 0], persons["family, bob", 0], persons["family, letter", 0]}) == 3


def test_a_kiosk_does_not_join_its_customers(persons: Sessions) -> None:
    at_home = [persons[f"customer {number}", 0] for number in range(4)]
    assert len(set(at_home)) == 4
    assert [persons["kiosk", day] for day in range(4)] == at_home


def test_a_visitor_without_an_account_is_a_person(persons: Sessions) -> None:
    assert persons["nobody", 0] == "nobody"


def test_visitors_and_conversions_have_the_person_of_their_time(models: Models) -> None:
    rows = models.rows(
        "select visitors.user_id, visitors.person_id, sessions.person_id as of_last_session"
        " from marts.visitors inner join marts.sessions using (site_id, user_id)"
        f" where site_id = '{SHARED_DEVICES_SITE}' and sessions.ended_at = visitors.last_seen_at"
    )
    assert len(rows) > 10
    assert all(row["person_id"] == row["of_last_session"] for row in rows)


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


def test_the_number_of_visitors_who_share_an_order_number_does_not_matter(models: Models) -> None:
    found = models.rows(
        "select coalesce(order_id, transaction_id) as identifier, event_count::int,"
        " is_confirmed_by_webhook as confirmed from marts.conversions"
        f" where site_id = '{CROWDED_SITE}' and coalesce(order_id, transaction_id) is not null"
        " order by 1"
    )
    # Each visitor sends the order or form twice within an hour, and the webhook once.
    assert found == [
        {"identifier": f"{kind} {visitors}", "event_count": 2 * (visitors - 1) + 1, "confirmed": True}
        for kind in ("order", "transaction")
        for visitors in (BOUND, BOUND + 1)
    ]
