"""Conversions of goals and entries into funnels match the recomputation, site by site."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import timedelta

import pytest

from tests.dbt.conftest import Models
from tests.dbt.dbt_project import PROJECT
from tests.dbt.events import HOSTILE_SITES
from tests.dbt.oracle.funnels import Goal, Step, conversions, funnel
from tests.dbt.oracle.sessions import prepare
from tests.dbt.rule_cases import site_of

# A funnel ID that two sites use for different funnels.
SHARED_FUNNEL = [
    ("new-tab", 1, "page_view"),
    ("new-tab", 2, "add_to_cart"),
    ("refunds", 1, "page_view"),
    ("refunds", 2, "purchase"),
    ("refunds", 3, "refund"),
]


def _funnels() -> dict[str, list[dict[str, str]]]:
    """Return the steps of each funnel of the seed, in order."""
    with (PROJECT / "seeds" / "funnels.csv").open(encoding="utf-8", newline="") as seed:
        rows = sorted(csv.DictReader(seed), key=lambda row: int(row["step"]))
    return {row["funnel_id"]: [one for one in rows if one["funnel_id"] == row["funnel_id"]] for row in rows}


@pytest.mark.parametrize("site", HOSTILE_SITES)
def test_funnels_match_the_recomputation(models: Models, site: str) -> None:
    events = prepare(models.rows(f"select * from public.events where site_id = '{site}'"))
    expected: dict[tuple[str, int], tuple[int, int]] = {}
    for funnel_id, rows in _funnels().items():
        steps = [Step(row["event_type"], row["page_path"] or None) for row in rows]
        window = timedelta(hours=float(rows[0]["window_hours"]))
        entries = funnel(events, steps, window, is_strict=rows[0]["step_order"] == "strict")
        for step in range(1, len(steps) + 1):
            reached = sum(len(entry.events) >= step for entry in entries)
            expected[funnel_id, step] = (len(entries), reached)
    modelled = models.rows(f"select funnel_id, step, entered, reached from marts.funnel_steps where site_id = '{site}'")
    assert {(row["funnel_id"], row["step"]): (row["entered"], row["reached"]) for row in modelled} == expected
    assert all(entered > 20 for entered, _ in expected.values())


@pytest.mark.parametrize(("goal", "event_type"), [("lead", "form_submit"), ("signup", "signup")])
def test_conversions_of_goals_match_the_recomputation(models: Models, goal: str, event_type: str) -> None:
    for site in HOSTILE_SITES:
        events = prepare(models.rows(f"select * from public.events where site_id = '{site}'"))
        expected = Counter(
            (min(event["at"] for event in records), len(records)) for records in conversions(events, Goal(event_type))
        )
        modelled = models.rows(
            "select converted_at, event_count::int from marts.conversions"
            f" where goal_id = '{goal}' and site_id = '{site}'"
        )
        assert Counter((row["converted_at"], row["event_count"]) for row in modelled) == expected


def test_two_sites_may_use_one_funnel_id(models: Models) -> None:
    """Row "one funnel id on two sites": evaluates the compiled models with further rows of the seed."""
    folder = models.target / "compiled" / "tilda_analytics" / "models"
    progress = (folder / "intermediate" / "int_funnel_progress.sql").read_text(encoding="utf-8")
    steps = (folder / "marts" / "funnel_steps.sql").read_text(encoding="utf-8")
    connection = models.connection
    with connection.transaction(force_rollback=True):
        for case, step, event_type in SHARED_FUNNEL:
            connection.execute(
                "insert into staging.funnels"
                " (funnel_id, funnel_name, site_id, step, step_name, event_type, window_hours, step_order)"
                " values ('shared', 'Shared', %s, %s, 'Step', %s, 48, 'loose')",
                [site_of(case), step, event_type],
            )
        connection.execute("delete from intermediate.int_funnel_progress")
        columns = "site_id, funnel_id, entry_id, step, user_id, entered_at, reached_at, seconds_to_next, entry_date"
        connection.execute(
            f"insert into intermediate.int_funnel_progress ({columns}, channel, device_type)"
            f" select {columns}, channel, device_type from ({progress}) as progress"
        )
        found = models.rows(
            "select site_id, step, entered::int, reached::int"
            f" from ({steps}) as steps where funnel_id = 'shared' order by 1, 2"
        )
    assert [tuple(row.values()) for row in found] == [
        (site_of("new-tab"), 1, 1, 1),
        (site_of("new-tab"), 2, 1, 1),
        (site_of("refunds"), 1, 1, 1),
        (site_of("refunds"), 2, 1, 1),
        (site_of("refunds"), 3, 1, 0),
    ]
