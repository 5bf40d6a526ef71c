"""Drift and kept promises, and the page that shows them."""

import json
import re
import xml.etree.ElementTree as ET
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ml import monitoring, report, scoring, training
from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES
from tests.unit.ml_world import COLUMNS, WEEK, table, trained, visitors


def drift(before: pd.DataFrame, now: pd.DataFrame) -> list[monitoring.Drift]:
    return monitoring.drift(before, now, numeric=NUMERIC_NAMES, categorical=CATEGORICAL_NAMES)


def test_the_same_behaviour_is_not_called_drift_however_few_the_visitors() -> None:
    before = table()
    for rows, seed in ((60, 1), (300, 2), (3_000, 3)):
        assert not monitoring.has_drifted(drift(before, visitors(rows, seed=seed)))


def test_a_changed_column_is_found_and_named() -> None:
    now = visitors(2_000, seed=4)
    now = now.assign(last_channel="paid", sessions_7d=now["sessions_7d"] + 2, last_utm_campaign="brand new")
    found = drift(table(), now)
    assert {one.column for one in found if one.changed} == {"last_channel", "sessions_7d", "last_utm_campaign"}
    assert monitoring.has_drifted(found)
    assert found[0].label in {"last channel", "sessions in 7 days", "last campaign"}


def test_a_site_that_only_gets_older_raises_no_alarm() -> None:
    older = visitors(3_000, seed=3)
    older = older.assign(
        days_since_first_event=older["days_since_first_event"] + 60,
        conversions_total=older["conversions_total"] + 3,
        revenue_total=older["revenue_total"] * 3 + 100,
    )
    found = drift(table(), older)
    assert [one.changed for one in found[:3]] == [True] * 3
    assert not monitoring.has_drifted(found)


def test_the_index_of_two_bins_by_hand() -> None:
    before, now = pd.DataFrame({"c": ["a"] * 500 + ["b"] * 500}), pd.DataFrame({"c": ["a"] * 800 + ["b"] * 200})
    (found,) = monitoring.drift(before, now, numeric=[], categorical=["c"])
    assert found.psi == pytest.approx(0.3 * np.log(0.8 / 0.5) + -0.3 * np.log(0.2 / 0.5), rel=0.01)


def test_values_that_vanish_or_appear_are_drift() -> None:
    before = pd.DataFrame({"n": np.arange(1000.0)})
    (found,) = monitoring.drift(before, pd.DataFrame({"n": [np.nan] * 500}), numeric=["n"], categorical=[])
    assert found.changed
    assert monitoring.score_drift(np.linspace(0, 0.2, 900), np.linspace(0, 0.2, 900) * 2).changed


def past(shift: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Six cut-offs scored with the truth; in the last three the world has moved by ``shift``."""
    frame = visitors(30_000, seed=9, weeks=6, shift_from=3, shift=shift).drop_duplicates(["user_id", "as_of"])
    calm = visitors(30_000, seed=9, weeks=6).drop_duplicates(["user_id", "as_of"])
    scores = calm[["site_id", "user_id", "as_of"]].assign(
        score=calm["truth"], band=scoring.bands(calm["truth"].to_numpy())
    )
    return scores, frame[["site_id", "user_id", "as_of", "converted_7d"]]


def test_kept_promises_are_told_from_broken_ones() -> None:
    calm = monitoring.realised(*past(0.0), label="converted_7d")
    assert len(calm) == 6
    assert sum(week.kept for week in calm) >= 5
    assert not monitoring.promise_broken(calm)
    moved = monitoring.realised(*past(0.8), label="converted_7d")
    assert monitoring.promise_broken(moved)
    assert monitoring.promise_broken(moved[:4])
    assert moved[-1].converted > moved[-1].high


def test_outcomes_that_are_not_known_yet_wait() -> None:
    scores, outcomes = past(0.0)
    newest = outcomes["as_of"].max()
    waiting = outcomes.assign(converted_7d=outcomes["converted_7d"].astype(object).where(outcomes["as_of"] < newest))
    assert len(monitoring.realised(scores, waiting, label="converted_7d")) == 5
    assert monitoring.realised(scores.head(0), outcomes, label="converted_7d") == []


@pytest.mark.long
def test_a_change_of_behaviour_is_seen_within_a_cut_off_and_mended_by_training() -> None:
    frame = visitors(240_000, seed=21, weeks=24, shift_from=12, shift=0.7)
    start = frame["as_of"].min()

    def window(first: int, last: int) -> pd.DataFrame:
        age = (frame["as_of"] - start) // timedelta(days=7)
        return frame[(age >= first) & (age < last)].drop_duplicates(["user_id", "as_of"])

    def promise(model: training.Propensity, week: int) -> monitoring.Realised:
        rows = window(week, week + 1)
        return monitoring.realised(scoring.score(model, rows), rows, label="converted_7d")[0]

    old = training.fit(window(0, 12), **COLUMNS, visitor="user_id", horizon=WEEK)
    assert monitoring.promise_broken([promise(old, 12)])
    mended = training.fit(window(4, 16), **COLUMNS, visitor="user_id", horizon=WEEK)
    assert sum(promise(mended, week).kept for week in range(16, 20)) >= 3


def test_the_page_is_complete_and_names_nobody() -> None:
    frame = table()
    scores, outcomes = past(0.8)
    page = report.page(
        trained(),
        frame,
        label="converted_7d",
        drift=drift(frame, visitors(500, seed=4)),
        realised=monitoring.realised(scores, outcomes, label="converted_7d"),
    )
    json.dumps(page.data)
    wanted = {"roc", "precision_recall", "calibration", "lift", "gain", "importance", "scores", "drift", "realised"}
    assert wanted <= set(page.charts)
    assert sum(name.startswith("dependence_") for name in page.charts) == 4
    for svg in page.charts.values():
        ET.fromstring(svg)
        assert "nan" not in svg
    assert trained().version in page.markdown
    assert "not kept" in page.markdown
    assert not set(frame["user_id"]) & set(re.findall(r"v\d{3,}", page.html + page.markdown + json.dumps(page.data)))


def test_importance_finds_what_matters_and_not_what_does_not() -> None:
    ranked = [name for name, _ in report.permutation_importance(trained(), table(), label="converted_7d")]
    telling = {"last_channel", "form_starts_28d", "page_views_28d", "sessions_7d", "days_since_last_event"}
    assert telling & set(ranked[:4])
    assert not {"first_channel", "browser", "weekend_share_28d"} & set(ranked[:4])
