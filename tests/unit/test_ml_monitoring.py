"""Drift, the comparison of predicted with actual conversions, and the model report."""

import json
import re
import xml.etree.ElementTree as ET
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ml import monitoring, report, scoring, training
from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES
from tests.feature_tables import COLUMNS, WEEK, table, trained, visitors


def drift(before: pd.DataFrame, now: pd.DataFrame) -> list[monitoring.Drift]:
    return monitoring.drift(before, now, numeric=NUMERIC_NAMES, categorical=CATEGORICAL_NAMES)


def test_unchanged_behaviour_is_not_drift_even_with_few_visitors() -> None:
    before = table()
    for rows, seed in ((60, 1), (300, 2), (3_000, 3)):
        assert not monitoring.has_drifted(drift(before, visitors(rows, seed=seed)))


def test_changed_columns_are_reported_by_name() -> None:
    now = visitors(2_000, seed=4)
    now = now.assign(last_channel="paid", sessions_7d=now["sessions_7d"] + 2, last_utm_campaign="brand new")
    found = drift(table(), now)
    assert {one.column: one.label for one in found if one.changed} == {
        "last_channel": "last channel",
        "sessions_7d": "sessions in 7 days",
        "last_utm_campaign": "last campaign",
    }
    assert monitoring.has_drifted(found)


def test_ageing_of_cumulative_columns_is_not_drift() -> None:
    older = visitors(3_000, seed=3)
    older = older.assign(
        days_since_first_event=older["days_since_first_event"] + 60,
        conversions_total=older["conversions_total"] + 3,
        revenue_total=older["revenue_total"] * 3 + 100,
    )
    found = drift(table(), older)
    assert [one.changed for one in found[:3]] == [True] * 3
    assert not monitoring.has_drifted(found)


def test_the_psi_of_two_bins_equals_the_hand_computed_value() -> None:
    before, now = pd.DataFrame({"c": ["a"] * 500 + ["b"] * 500}), pd.DataFrame({"c": ["a"] * 800 + ["b"] * 200})
    (found,) = monitoring.drift(before, now, numeric=[], categorical=["c"])
    assert found.psi == pytest.approx(0.3 * np.log(0.8 / 0.5) + -0.3 * np.log(0.2 / 0.5), rel=0.01)


def test_missing_values_and_shifted_scores_are_drift() -> None:
    before = pd.DataFrame({"n": np.arange(1000.0)})
    (found,) = monitoring.drift(before, pd.DataFrame({"n": [np.nan] * 500}), numeric=["n"], categorical=[])
    assert found.changed
    assert monitoring.score_drift(np.linspace(0, 0.2, 900), np.linspace(0, 0.2, 900) * 2).changed


def past_scores(shift: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scores and outcomes of six cut-offs. In the last three, ``shift`` is added to the outcomes' log-odds."""
    frame = visitors(30_000, seed=9, weeks=6, shift_from=3, shift=shift).drop_duplicates(["user_id", "as_of"])
    stable = visitors(30_000, seed=9, weeks=6).drop_duplicates(["user_id", "as_of"])
    scores = stable[["site_id", "user_id", "as_of"]].assign(
        score=stable["truth"], band=scoring.bands(stable["truth"].to_numpy())
    )
    return scores, frame[["site_id", "user_id", "as_of", "converted_7d"]]


def test_a_shift_of_the_conversion_rate_is_detected() -> None:
    stable = monitoring.realised(*past_scores(0.0), label="converted_7d")
    assert len(stable) == 6
    assert sum(week.kept for week in stable) >= 5
    assert not monitoring.outcomes_contradict_scores(stable)
    shifted = monitoring.realised(*past_scores(0.8), label="converted_7d")
    assert monitoring.outcomes_contradict_scores(shifted)
    assert monitoring.outcomes_contradict_scores(shifted[:4])
    assert shifted[-1].converted > shifted[-1].high


def test_cut_offs_without_known_outcomes_are_left_out() -> None:
    scores, outcomes = past_scores(0.0)
    newest = outcomes["as_of"].max()
    waiting = outcomes.assign(converted_7d=outcomes["converted_7d"].astype(object).where(outcomes["as_of"] < newest))
    assert len(monitoring.realised(scores, waiting, label="converted_7d")) == 5
    assert monitoring.realised(scores.head(0), outcomes, label="converted_7d") == []


@pytest.mark.long
def test_a_change_of_behaviour_is_detected_in_one_cut_off_and_fixed_by_training() -> None:
    frame = visitors(240_000, seed=21, weeks=24, shift_from=12, shift=0.7)
    start = frame["as_of"].min()

    def window(first: int, last: int) -> pd.DataFrame:
        age = (frame["as_of"] - start) // timedelta(days=7)
        return frame[(age >= first) & (age < last)].drop_duplicates(["user_id", "as_of"])

    def realised_at(model: training.Propensity, week: int) -> monitoring.Realised:
        rows = window(week, week + 1)
        return monitoring.realised(scoring.score(model, rows), rows, label="converted_7d")[0]

    old = training.fit(window(0, 12), **COLUMNS, visitor="user_id", horizon=WEEK)
    assert monitoring.outcomes_contradict_scores([realised_at(old, 12)])
    retrained = training.fit(window(4, 16), **COLUMNS, visitor="user_id", horizon=WEEK)
    assert sum(realised_at(retrained, week).kept for week in range(16, 20)) >= 3


def test_the_report_has_every_chart_and_no_visitor_ids() -> None:
    frame = table()
    scores, outcomes = past_scores(0.8)
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


def test_permutation_importance_ranks_relevant_columns_first() -> None:
    ranked = [name for name, _ in report.permutation_importance(trained(), table(), label="converted_7d")]
    telling = {"last_channel", "form_starts_28d", "page_views_28d", "sessions_7d", "days_since_last_event"}
    assert telling & set(ranked[:4])
    assert not {"first_channel", "browser", "weekend_share_28d"} & set(ranked[:4])
