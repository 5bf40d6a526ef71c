"""Metrics of predicted probabilities, checked on data whose true metrics are known."""

import numpy as np
import pytest
from scipy.special import expit, logit

from ml import evaluation
from ml.bootstrap import mean_bound


def outcomes(n: int = 60_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(-2.5, 1.2, n))
    return (rng.random(n) < p).astype(int), p


def test_true_probabilities_are_reported_as_calibrated() -> None:
    for seed in range(5):
        y, p = outcomes(seed=seed)
        report = evaluation.report(y, p)
        assert report.calibration_slope == pytest.approx(1, abs=0.06)
        assert report.calibration_intercept == pytest.approx(0, abs=0.12)
        assert sum(decile.as_expected for decile in report.deciles) >= 8
        assert report.advantage.lower > 0


def test_overconfident_and_shifted_scores_are_detected() -> None:
    y, p = outcomes()
    slope, intercept = evaluation.calibration(y, expit(2 * logit(p) + 1))
    # logit(p) = (s - 1) / 2, where s is the logit of the distorted score.
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(-0.5, abs=0.05)
    assert not evaluation.report(y, expit(logit(p) + 0.5)).deciles[0].as_expected


def test_metrics_of_four_rows_equal_hand_computed_values() -> None:
    report = evaluation.report(np.array([1, 0, 0, 1]), np.array([0.8, 0.4, 0.2, 0.4]))
    assert report.positives == 2
    assert report.roc_auc == pytest.approx(0.875)
    assert report.brier == pytest.approx((0.04 + 0.16 + 0.04 + 0.36) / 4)
    assert report.log_loss == pytest.approx(-np.log([0.8, 0.6, 0.8, 0.4]).mean())
    assert report.log_loss_base_rate == pytest.approx(np.log(2))
    assert [decile.gain for decile in report.deciles] == [0.5, 0.5, 1, 1]
    assert report.deciles[0].lift == 2


def test_a_95_percent_bound_holds_in_about_95_percent_of_trials() -> None:
    rng = np.random.default_rng(3)
    held = sum(
        mean_bound(rng.normal(0.1, 1, 400), confidence=0.95, repeats=400, seed=trial).lower <= 0.1
        for trial in range(300)
    )
    assert 270 <= held <= 297


def test_rows_of_one_visitor_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    per_visitor = rng.normal(0.05, 1, 500)
    repeated, ids = np.repeat(per_visitor, 20), np.repeat(np.arange(500), 20)
    alone = mean_bound(repeated)
    together = mean_bound(repeated, cluster=ids)
    assert together.upper - together.lower > 3 * (alone.upper - alone.lower)


def test_the_interval_of_many_visitors_equals_the_normal_interval() -> None:
    values = np.random.default_rng(5).normal(0.02, 1, 40_000)
    bound = mean_bound(values)
    assert bound.upper - bound.lower == pytest.approx(2 * 2.326 / np.sqrt(40_000), rel=0.15)
    assert bound == mean_bound(values)


def test_a_single_outcome_class_has_no_ranking_metrics() -> None:
    report = evaluation.report(np.zeros(20), np.full(20, 0.1))
    assert np.isnan(report.roc_auc)
    assert np.isnan(report.calibration_slope)
    assert report.log_loss == pytest.approx(-np.log(0.9))


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([], [], "no rows"),
        ([0, 1], [0.5], "same length"),
        ([0, 2], [0.5, 0.5], "0 or 1"),
        ([0, 1], [0.5, 1.5], "between 0 and 1"),
        ([0, 1], [0.5, float("nan")], "missing"),
        ([0, float("nan")], [0.5, 0.5], "not known"),
        (["no", "yes"], [0.5, 0.5], "must be numbers"),
    ],
)
def test_invalid_input_is_reported(y: list[float], p: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        evaluation.report(np.array(y), np.array(p))


def test_log_loss_of_certain_mistakes_is_finite() -> None:
    report = evaluation.report(np.array([1, 0, 1, 0]), np.array([0.0, 1.0, 1.0, 0.0]))
    assert 13 < report.log_loss < 15
