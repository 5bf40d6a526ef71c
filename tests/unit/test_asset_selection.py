"""An asset selection with a typo is rejected before anything loads, with the closest known name as the remedy."""

import sys

import pytest

from orchestration.materialize import materialize
from orchestration.selection import check_selection, known_assets
from warehouse.kit.errors import UserError


@pytest.mark.parametrize(
    ("selection", "problem", "remedy"),
    [
        ("grup:marts", "no attribute 'grup'", "'group:marts'"),
        ("group:martz", "No group of assets is named 'martz'", "'group:marts'"),
        ("key:marts/sesions+", "No asset is named 'marts/sesions'", """'key:"marts/sessions"'"""),
        ("key:sessions", "No asset is named 'sessions'", """'key:"marts/sessions"'"""),
        ("group:staging or +key:ml/propensty_scores", "'ml/propensty_scores'", """'key:"ml/propensity_scores"'"""),
        ("not key:mindsdb/propensit", "'mindsdb/propensit'", """'key:"mindsdb/propensity"'"""),
        ("marts", "No asset is named 'marts'", "'group:marts'"),
        ("group:zzz", "No group", "custom, events, intermediate, marts, ml, staging"),
        ("group:", "is invalid", "'group:marts'"),
    ],
)
def test_a_typo_is_rejected_before_the_definitions_are_loaded(
    selection: str, problem: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "orchestration.definitions", None)  # makes the import fail
    with pytest.raises(UserError) as refused:
        materialize(selection)
    assert problem in refused.value.message
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    "selection",
    [
        "*",
        "group:marts",
        'key:"marts/sessions"',
        "marts/sessions",
        'key:"marts/daily_*"+2',
        'not key:"mindsdb/propensity"',
        'key:"public/events"+ and not kind:dbt',
        'tag:anything or owner:"team:data"',
        "sinks(group:staging)",
    ],
)
def test_every_valid_dagster_selection_is_accepted(selection: str) -> None:
    check_selection(selection)


def test_known_assets_list_every_group() -> None:
    assert set(known_assets().values()) == {"custom", "default", "events", "intermediate", "marts", "ml", "staging"}
