"""Training: quality, time-based evaluation, reproducibility, and tables of unusual types."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from ml import artifacts, evaluation, gate, training
from ml.errors import TrainingError
from tests.feature_tables import COLUMNS, WEEK, table, trained, visitors


def evaluate_on_fresh_rows(rows: int, seed: int, **world: float) -> tuple[float, tuple[float, float]]:
    model = training.fit(visitors(rows, seed=seed, **world), **COLUMNS, visitor="user_id", horizon=WEEK)
    fresh = visitors(60_000, seed=seed + 500, **world)
    y, p = fresh["converted_7d"].to_numpy(), model.predict(fresh)
    return attainable_share(y, p, fresh["truth"].to_numpy()), evaluation.calibration(y, p)


def attainable_share(y: np.ndarray, p: np.ndarray, truth: np.ndarray) -> float:
    """Return the model's gain in log-loss over the base rate, as a share of the gain of the true probabilities."""
    base = float(evaluation.losses(y, float(np.mean(y))).mean())
    best = base - float(evaluation.losses(y, truth).mean())
    return (base - float(evaluation.losses(y, p).mean())) / best


def test_few_examples_reach_70_percent_of_the_attainable_gain() -> None:
    share, (slope, _) = evaluate_on_fresh_rows(12_000, seed=2)
    assert share > 0.7
    assert 0.75 < slope < 1.35


@pytest.mark.long
@pytest.mark.parametrize(("rows", "least"), [(100_000, 0.9), (400_000, 0.95)])
def test_large_tables_reach_90_to_95_percent_of_the_attainable_gain(rows: int, least: float) -> None:
    for seed in (1, 2, 3):
        share, (slope, _) = evaluate_on_fresh_rows(rows, seed=seed)
        assert share >= least
        assert 0.9 <= slope <= 1.1


@pytest.mark.parametrize("seed", range(4))
def test_a_model_of_noise_is_not_confirmed(seed: int) -> None:
    frame = visitors(8_000, seed=seed, signal=0, base=-2.5)
    model = training.fit(frame, **COLUMNS, visitor="user_id", horizon=WEEK, learners=("regression",))
    assert not gate.confirm(model).met
    assert gate.decide(model, None, frame).action == "none"


@pytest.mark.long
def test_a_model_of_noise_is_not_confirmed_in_19_of_20_tables() -> None:
    refused = 0
    for seed in range(20):
        frame = visitors(50_000, seed=seed, signal=0, base=-3, shift_from=9, shift=0.4)
        model = training.fit(frame, **COLUMNS, visitor="user_id", horizon=WEEK)
        refused += not gate.confirm(model).met
    assert refused >= 19


def test_training_on_the_same_table_gives_the_same_bytes() -> None:
    frame = table(4_000)
    first = training.fit(frame, **COLUMNS, horizon=WEEK)
    second = training.fit(frame.copy(), **COLUMNS, horizon=WEEK)
    assert artifacts.dumps(first).sha256 == artifacts.dumps(second).sha256
    assert first.version == second.version
    assert first.version.startswith("converted_7d-20261019-")
    assert training.fit(table(4_000, 12), **COLUMNS, horizon=WEEK).version != first.version


def test_the_trial_period_is_not_used_for_training() -> None:
    """Inverting the outcomes of the newest period must not change the scores of the model that is tested on it."""
    frame = table(4_000)
    original = training.fit(frame, **COLUMNS, horizon=WEEK).trial
    assert original is not None
    inverted = frame.assign(converted_7d=frame["converted_7d"] ^ (frame["as_of"] >= original.rows["time"].min()))
    other = training.fit(inverted, **COLUMNS, horizon=WEEK).trial
    assert other is not None
    assert np.array_equal(other.rows["score"], original.rows["score"])
    assert (other.rows["y"] != original.rows["y"]).all()


def test_periods_are_ordered_and_separated_by_the_label_horizon() -> None:
    times = pd.Series(pd.date_range("2026-01-05", periods=12, freq="7D", tz="UTC").repeat(100))
    first, second, third = training.periods(times, timedelta(days=14))
    assert times[first].max() + timedelta(days=14) <= times[second].min()
    assert times[second].max() + timedelta(days=14) <= times[third].min()
    assert [rows.sum() for rows in (first, second, third)] == [600, 200, 200]


def test_new_visitors_are_evaluated_separately() -> None:
    trial = trained().trial
    assert trial is not None
    assert trial.unseen is not None
    known = set(table().loc[table()["as_of"] < trial.rows["time"].min(), "user_id"])
    assert 0 < trial.unseen.n <= trial.chosen.n
    assert trial.unseen.n >= (~trial.rows["visitor"].isin(known)).sum()


def test_a_rising_base_rate_is_followed_and_does_not_confirm_noise() -> None:
    frame = visitors(30_000, seed=6, signal=0, base=-3, shift_from=7, shift=1.0)
    model = training.fit(frame, **COLUMNS, horizon=WEEK, learners=("regression",))
    assert not gate.confirm(model).met
    recent = frame[frame["as_of"] == frame["as_of"].max()]
    assert model.predict(recent).mean() == pytest.approx(recent["truth"].mean(), rel=0.2)


def odd_table() -> pd.DataFrame:
    """Return a table of another domain with the column types that a database driver returns."""
    rng = np.random.default_rng(8)
    n = 3_000
    age = rng.integers(18, 80, n)
    return pd.DataFrame(
        {
            "age": pd.array(np.where(rng.random(n) < 0.1, None, age), dtype="Int64"),
            "income": [None if rng.random() < 0.2 else Decimal(int(value)) for value in rng.lognormal(10, 1, n)],
            "always_one": 1,
            "never_known": [None] * n,
            "ratio": np.where(rng.random(n) < 0.01, np.inf, rng.normal(size=n)),
            "country": pd.Series(rng.choice(["DE", "FR", None, ""], n), dtype="object"),
            "token": [f"t{value}" for value in rng.integers(0, 2_000, n)],
            "nothing": pd.Series([None] * n, dtype="object"),
            "sold": (rng.random(n) < 0.05 + 0.4 * (age > 60)).astype(float),
            "day": pd.date_range("2024-01-01", periods=n, freq="h"),
        }
    )


ODD = {
    "numeric": ["age", "income", "always_one", "never_known", "ratio"],
    "categorical": ["country", "token", "nothing"],
    "label": "sold",
    "time": "day",
}


def test_a_table_of_another_domain_can_be_learned() -> None:
    frame = odd_table()
    frame.loc[:20, "sold"] = None
    model = training.fit(frame, **ODD)
    assert model.trial is not None
    assert model.rows == len(frame) - 21
    assert model.trial.chosen.roc_auc > 0.7
    unseen = frame.tail(3).assign(country="XX", token="new", age=None)
    assert ((model.predict(unseen) > 0) & (model.predict(unseen) < 1)).all()
    assert model.predict(frame.head(0)).shape == (0,)


def test_training_works_without_text_or_without_numbers() -> None:
    frame = odd_table()
    assert training.fit(frame, **(ODD | {"categorical": []})).trial is not None
    assert training.fit(frame, **(ODD | {"numeric": []})).trial is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: frame.convert_dtypes().astype({"country": "category", "sold": "boolean"}),
        lambda frame: frame.assign(day=frame["day"].astype(str), always_one=True),
        lambda frame: frame.assign(day=frame["day"].dt.tz_localize("Asia/Tokyo")),
        lambda frame: frame.assign(day=frame["day"].dt.to_period("D")),
        lambda frame: frame.set_axis([0] * len(frame)).sample(frac=1, random_state=1),
    ],
)
def test_column_types_do_not_change_the_probabilities(change) -> None:
    frame = odd_table().drop(columns="income").head(1_500)
    columns = ODD | {"numeric": ["age", "always_one", "ratio"], "learners": ("regression",)}
    usual, other = (training.fit(one, **columns) for one in (frame, change(frame)))
    assert artifacts.loads(artifacts.dumps(other).content).data_until.date() == usual.data_until.date()
    assert np.allclose(other.predict(change(frame)).mean(), usual.predict(frame).mean(), rtol=0.1)


def test_rows_without_a_visitor_id_are_separate_clusters() -> None:
    frame = odd_table().assign(buyer=[f"b{row}" if row % 3 else None for row in range(3_000)])
    trial = training.fit(frame, **ODD, visitor="buyer", learners=("regression",)).trial
    assert trial is not None
    assert trial.chosen.advantage.clusters == trial.chosen.n


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="age"), "lacks the column"),
        (lambda frame: pd.concat([frame, frame[["age"]]], axis=1), "two columns of one name"),
        (lambda frame: frame.assign(day=range(len(frame))), "are numbers; make dates"),
        (lambda frame: frame.assign(day="soon"), "cannot be read as dates"),
        (lambda frame: frame.assign(sold=None), "No row has a known outcome"),
        (lambda frame: frame.assign(sold=2), "must be 0 or 1"),
        (lambda frame: frame.assign(sold=0), "both outcomes"),
        (lambda frame: frame.assign(day=pd.Timestamp("2024-01-01")), "Three different times"),
        (lambda frame: frame.assign(day=frame["day"].where(frame.index > 5)), "have no time"),
        (lambda frame: frame.assign(age="old"), "cannot be learned from: .* 'old'"),
    ],
)
def test_unusable_tables_are_rejected_with_the_reason(change, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        training.fit(change(odd_table()), **ODD)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"numeric": [], "categorical": []}, "No feature is named"),
        ({"numeric": ["age", "age"]}, "named twice"),
        ({"numeric": [3]}, "names of text"),
        ({"learners": ("forest",)}, "No such learner: forest"),
    ],
)
def test_invalid_arguments_are_rejected_with_the_reason(settings: dict[str, object], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        training.fit(odd_table(), **(ODD | settings))
