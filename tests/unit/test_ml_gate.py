"""The gate: the minimum of examples, the confirmation of a model, and the choice of champion or challenger."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from ml import gate
from ml.model import Propensity
from tests.feature_tables import WEEK, table, trained

MONDAY = pd.Timestamp("2026-08-03", tz="UTC")


def examples(per_week: list[int], *, others: int = 400) -> pd.DataFrame:
    """Return ``per_week`` positives for each week, oldest first, and ``others`` negatives per week."""
    rows = [
        (f"v{week}-{number}", MONDAY + week * WEEK, number < positives)
        for week, positives in enumerate(per_week)
        for number in range(positives + others)
    ]
    return pd.DataFrame(rows, columns=["user_id", "as_of", "converted_7d"])


def check(frame: pd.DataFrame, **settings: int) -> gate.Grounds:
    return gate.check(frame, label="converted_7d", time="as_of", visitor="user_id", **settings)


def test_too_few_examples_give_the_expected_wait() -> None:
    grounds = check(examples([30] * 7))
    assert not grounds.met
    assert grounds.positives == 210
    assert grounds.message == (
        "210 examples of a conversion in seven weeks; 300 are needed; at the present rate about 3 weeks."
    )


def test_the_expected_wait_follows_the_recent_rate() -> None:
    grounds = check(examples([2] * 8 + [49] * 4))
    assert grounds.message == (
        "212 examples of a conversion in twelve weeks; 300 are needed; at the present rate about 2 weeks."
    )


def test_a_site_that_will_never_have_enough_examples_is_advised_to_change_the_goal() -> None:
    grounds = check(examples([10] * 12))
    assert grounds.message.startswith("120 examples of a conversion in twelve weeks; 300 are needed; ")
    assert "hold about 120" in grounds.message
    assert "more frequent goal" in grounds.message


def test_the_number_of_examples_decides_the_allowed_learners() -> None:
    assert check(examples([30] * 12)).learners == ("regression",)
    assert check(examples([90] * 12)).learners == ("regression", "boosting")
    assert check(examples([30] * 12), regression=100, boosting=350).learners == ("regression", "boosting")


def test_an_example_is_a_visitor_in_a_recent_week() -> None:
    frame = examples([30] * 12)
    daily = pd.concat([frame, frame.assign(as_of=frame["as_of"] - pd.Timedelta(days=2))])
    assert check(daily).positives == 360
    assert check(examples([100] * 20)).positives == 1200
    assert check(frame.assign(converted_7d=None)).positives == 0


def test_the_rarer_class_is_counted() -> None:
    frame = examples([400] * 3, others=20)
    grounds = check(frame)
    assert not grounds.met
    assert "60 examples of visitors without a conversion" in grounds.message


def test_a_confirmed_first_model_is_promoted() -> None:
    model = trained()
    assert gate.confirm(model).met
    decision = gate.decide(model, None, table())
    assert decision.action == "promote"
    assert "first model" in decision.reason


def test_the_champion_is_kept_without_newer_weeks() -> None:
    assert gate.decide(trained(), trained(), table(), horizon=WEEK).action == "keep"


def former_champion(shift: float) -> Propensity:
    """Return a champion whose training data ends before the trial, with its log-odds changed by ``shift``."""
    model, trial = trained(), trained().trial
    assert trial is not None
    bundle = model.bundle | {"intercept": model.bundle["intercept"] + shift}
    return replace(model, bundle=bundle, data_until=(trial.rows["time"].min() - WEEK).to_pydatetime())


def test_a_worse_champion_is_replaced_and_a_better_champion_is_kept() -> None:
    model = trained()
    assert gate.decide(model, former_champion(2.0), table(), horizon=WEEK).action == "promote"
    # This champion was trained on the trial's rows, so it predicts them better than the challenger does.
    kept = gate.decide(model, former_champion(0.0), table(), horizon=WEEK)
    assert kept.action == "keep"
    assert "Not better" in kept.reason


def test_after_drift_a_challenger_may_be_slightly_worse_but_not_much() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(-2, 1, 20_000)
    rows = pd.DataFrame({"y": (rng.random(20_000) < expit(margins)).astype(int), "visitor": np.arange(20_000)})
    champion = expit(margins)
    slightly, much = (rows.assign(score=expit(margins + by)) for by in (0.08, 0.5))
    assert gate.compare(slightly, champion, drift=False).action == "keep"
    assert gate.compare(slightly, champion, drift=True).action == "promote"
    assert gate.compare(much, champion, drift=True).action == "keep"


def test_a_champion_that_cannot_score_the_table_is_replaced() -> None:
    champion = replace(former_champion(0.0), bundle=trained().bundle | {"numeric": ["gone"]})
    decision = gate.decide(trained(), champion, table(), horizon=WEEK)
    assert decision.action == "promote"
    assert "gone" in decision.reason


def test_a_model_without_its_trial_cannot_be_confirmed() -> None:
    with pytest.raises(ValueError, match="train it again"):
        gate.confirm(replace(trained(), trial=None))
