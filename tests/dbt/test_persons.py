"""Persons against connected components worked out again in plain Python."""

from __future__ import annotations

from collections import defaultdict

from tests.dbt.conftest import Models
from tests.dbt.recomputed import prepare


def test_shared_addresses_join_visitors(models: Models) -> None:
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in prepare(models.rows("select * from public.events")):
        address = event["payload"].get("identity", {}).get("email_sha256")
        if address:
            holders[event["site_id"], address].add(event["user"])

    person: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for (site, _), users in holders.items():
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
        for row in models.rows(f"select distinct site_id, user_id, person_id from marts.{mart}")
    }
    assert modelled == {visitor: expected(visitor) for visitor in modelled}
    assert sum(user != who for (_, user), who in modelled.items()) > 5
