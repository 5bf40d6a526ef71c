"""Learn the probability of a yes-or-no outcome from a table with a time column.

Works on any table, ours or not::

    model = training.fit(
        frame,                      # one row an example
        numeric=["age", "visits"],  # numbers, missing ones allowed
        categorical=["country"],    # text, missing and new values allowed
        label="bought",             # 0/1 or boolean; rows without one are left out
        time="seen_at",             # when the features were true; what is later is never used to predict earlier
        visitor="customer_id",      # optional: what repeats over rows
        horizon=timedelta(days=30), # optional: how far ahead the label looks
    )
    model.predict(other_frame)      # probabilities
    model.trial.chosen.roc_auc      # how it did on the newest period

The times are cut into three periods, by about 60, 20 and 20 % of the rows: the learners learn on the first;
boosting stops, the penalty, the weights and the winner are chosen on the second; the third judges, unseen.
Then the same procedure, with what was chosen held fixed, learns from all periods, weighed anew on the newest:
that is the model returned. Nothing is ever split at random and nothing is resampled, so probabilities stay
honest. The same table and seed give the same model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.pipeline import Pipeline

from ml import artifacts, level_shift, serving, shapley
from ml.errors import TrainingError
from ml.evaluation import Report, fit_logistic, losses, report
from ml.learners import LEARNERS, sample
from ml.model import Propensity, Trial

SLOPE_STANDARD_DEVIATION = 0.25
"""Standard deviation of the prior on each learner's weight: with few positives it stays near its start, with
many the data decide. The intercept is free."""

BACKGROUND_ROWS = 20_000
"""Training rows with which a visitor is compared when a score is explained."""

BASE_RATE = "base rate"
BLEND = "blend"


@dataclass(frozen=True)
class Option:
    """A way to answer: which learners, how their log-odds are weighed, and its loss on the middle period.

    ``cost`` is the log-loss in nats plus one nat a weight over the number of rows (Akaike's criterion), since
    the weights were fitted on the rows that choose.
    """

    kind: str
    learners: tuple[str, ...]
    slopes: tuple[float, ...]
    intercept: float
    cost: float

    def margin(self, margins: dict[str, np.ndarray], rows: int) -> np.ndarray:
        """Calibrated log-odds, shape (rows,)."""
        total = np.full(rows, self.intercept)
        for name, slope in zip(self.learners, self.slopes, strict=True):
            total += slope * margins[name]
        return total


def fit(
    frame: pd.DataFrame,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    label: str,
    time: str,
    visitor: str | None = None,
    horizon: timedelta = timedelta(0),
    learners: Sequence[str] = ("regression", "boosting"),
    target: str = "",
    seed: int = 0,
) -> Propensity:
    """Learn, choose, judge and learn again from all; see the head of this file.

    Args:
        frame: One row an example; the index need not be unique.
        numeric: Numeric columns.
        categorical: Text columns.
        label: Outcome, 0/1 or boolean; null while unknown.
        time: When the features were taken, dates or times; at least three different ones.
        visitor: Column of ids that repeat over rows, for honest bounds and for judging newcomers apart.
        horizon: A row serves a period only if its label was known before the next period began.
        learners: Of "regression" and "boosting", those there are examples enough for (see ``ml.gate``).
        target: Name of the question, for the version; the label's name when empty.
        seed: Of everything random.

    Raises:
        TrainingError: A column is missing or of the wrong kind, there are fewer than three times, or a period
            lacks one of the outcomes.
    """
    unknown = set(learners) - set(LEARNERS)
    if unknown:
        raise TrainingError(f"No such learner: {', '.join(sorted(unknown))}; there are {', '.join(LEARNERS)}.")
    table = _checked(frame, (*numeric, *categorical), label, time, visitor)
    try:
        x = serving.prepare(table, numeric, categorical)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"A column holds what cannot be learned from: {error}") from error
    y = table[label].to_numpy(dtype="int8")
    first, second, third = periods(table[time], horizon)
    for name, part in (("earliest", first), ("middle", second), ("newest", third)):
        if not 0 < y[part].sum() < part.sum():
            raise TrainingError(
                f"The {name} period has {int(y[part].sum())} positive among {int(part.sum())} examples; each "
                "period needs both outcomes, so wait for more data or give a longer time range."
            )
    makers = {name: LEARNERS[name](list(numeric), list(categorical), seed) for name in learners}
    tried = {name: make.learn(x[first], y[first], x[second], y[second]) for name, make in makers.items()}
    margins = _margins(tried, x)
    known = first | second
    options = [
        _shifted_to_newest_level(option, margins, y, table[time], known) for option in _options(margins, y, second)
    ]
    best = min(options, key=lambda option: option.cost)
    ids = table[visitor] if visitor else pd.Series(table.index, table.index)
    trial = _evaluate(
        pd.DataFrame({"y": y, "time": table[time], "visitor": ids})[third],
        {option.kind: expit(option.margin(margins, len(y))[third]) for option in options},
        best.kind,
        ~ids[third].isin(ids[first]).to_numpy() & (visitor is not None),
    )
    estimators = {name: makers[name].learn_all(tried[name], x, y) for name in best.learners}
    final = _calibrate(best.kind, best.learners, margins, y, second | third, start=best)
    final = _shifted_to_newest_level(final, _margins(estimators, x), y, table[time], np.ones(len(y), dtype=bool))
    bundle: dict[str, Any] = {
        "numeric": list(numeric),
        "categorical": list(categorical),
        "estimators": list(estimators.values()),
        "slopes": list(final.slopes),
        "intercept": final.intercept,
    }
    bundle["backgrounds"] = shapley.backgrounds(bundle, x.iloc[sample(len(x), BACKGROUND_ROWS, seed)])
    until = table[time].max()
    return Propensity(
        bundle=bundle,
        kind=best.kind,
        version=artifacts.version(bundle, target or label, until),
        target=target or label,
        data_from=table[time].min(),
        data_until=until,
        rows=len(table),
        positives=int(y.sum()),
        seed=seed,
        metrics=trial.summary(),
        trial=trial,
    )


def periods(times: pd.Series, horizon: timedelta) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three masks of rows, shape (n,) each: the earliest, the middle and the newest period.

    Periods begin at whole times, nearest to 60 and 80 % of the rows; a row whose label was not known when the
    next period began belongs to none.

    Raises:
        TrainingError: There are fewer than three different times.
    """
    counts = times.value_counts().sort_index()
    if len(counts) < 3:
        raise TrainingError(
            f"Three different times are needed, to learn, to choose and to judge; there are {len(counts)}. "
            "Wait until there are more."
        )
    before = (counts.cumsum() - counts).to_numpy() / len(times)
    middle = int(np.argmin(np.abs(before[1:-1] - 0.6))) + 1
    newest = int(np.argmin(np.abs(before[middle + 1 :] - 0.8))) + middle + 1
    starts = counts.index[[middle, newest]]
    known = times + horizon if horizon else times
    return (
        ((times < starts[0]) & (known <= starts[0])).to_numpy(),
        ((times >= starts[0]) & (times < starts[1]) & (known <= starts[1])).to_numpy(),
        (times >= starts[1]).to_numpy(),
    )


def _checked(frame: pd.DataFrame, features: Sequence[str], label: str, time: str, visitor: str | None) -> pd.DataFrame:
    """The rows whose outcome is known, under their positions in ``frame``."""
    wanted = [*features, label, time, *([visitor] if visitor else [])]
    if not features:
        raise TrainingError("No feature is named, so there is nothing to learn from.")
    if pd.Index(wanted).inferred_type != "string":
        raise TrainingError("Columns must have names of text; frame.rename(columns=str) gives them.")
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise TrainingError(f"The table lacks the column(s) {', '.join(missing)}.")
    if len(set(wanted)) < len(wanted):
        raise TrainingError("A column is named twice; the label, the time and the id cannot be features too.")
    if not frame.columns[frame.columns.isin(wanted)].is_unique:
        raise TrainingError("The table has two columns of one name.")
    table = frame[wanted].set_axis(pd.RangeIndex(len(frame)), axis=0)
    table = table[table[label].notna()]
    if table.empty:
        raise TrainingError("No row has a known outcome yet; wait until the first labels are complete.")
    if table[time].isna().any():
        raise TrainingError(f"Some rows have no time in {time}; leave them out.")
    if not table[label].isin([0, 1]).all():
        raise TrainingError(f"The label {label} must be 0 or 1, true or false.")
    return table.assign(**{time: _moments(table[time])})


def _moments(times: pd.Series) -> pd.Series:
    """Dates and times as a database or a file hands them over; those with timezones in UTC."""
    if pd.api.types.is_numeric_dtype(times):
        raise TrainingError(
            f"The times in {times.name} are numbers; make dates of them, as by pd.to_datetime(years, format='%Y') "
            "or pd.to_datetime(seconds, unit='s')."
        )
    try:
        texts = times.astype(str) if isinstance(times.dtype, pd.PeriodDtype) else times
        aware = isinstance(texts.dtype, pd.DatetimeTZDtype) or any(
            getattr(one, "tzinfo", None) is not None for one in texts.head(1)
        )
        return pd.to_datetime(texts, utc=aware)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"The times in {times.name} cannot be read as dates: {error}") from error


def _margins(estimators: dict[str, Pipeline], x: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: serving.decision(estimator, x) for name, estimator in estimators.items()}


def _options(margins: dict[str, np.ndarray], y: np.ndarray, later: np.ndarray) -> list[Option]:
    """Every way to answer, weighed and priced on the middle period."""
    groups: list[tuple[str, tuple[str, ...]]] = [(BASE_RATE, ()), *((name, (name,)) for name in margins)]
    if len(margins) > 1:
        groups.append((BLEND, tuple(margins)))
    return [
        _calibrate(
            kind,
            names,
            margins,
            y,
            later,
            start=Option(kind, names, (1 / len(names),) * len(names) if names else (), 0.0, 0.0),
        )
        for kind, names in groups
    ]


def _calibrate(
    kind: str,
    names: tuple[str, ...],
    margins: dict[str, np.ndarray],
    y: np.ndarray,
    rows: np.ndarray,
    *,
    start: Option,
) -> Option:
    """Calibrate: weigh the learners' log-odds on ``rows`` they have not learned from (Platt, with a prior)."""
    outcomes = y[rows].astype("float64")
    columns = np.column_stack([margins[name][rows] for name in names]) if names else np.empty((len(outcomes), 0))
    spread = np.array([np.inf, *[SLOPE_STANDARD_DEVIATION] * len(names)])
    weights = fit_logistic(columns, outcomes, prior=np.array([start.intercept, *start.slopes]), precision=spread**-2.0)
    fitted = Option(kind, names, tuple(float(w) for w in weights[1:]), float(weights[0]), 0.0)
    cost = float(losses(outcomes, expit(fitted.margin(margins, len(y))[rows])).mean()) + len(weights) / len(outcomes)
    return replace(fitted, cost=cost)


def _shifted_to_newest_level(
    option: Option, margins: dict[str, np.ndarray], y: np.ndarray, times: pd.Series, rows: np.ndarray
) -> Option:
    """Move the intercept to the level of the newest of ``rows`` (see ``ml.level_shift``)."""
    moved = level_shift.shift(option.margin(margins, len(y))[rows], y[rows], times[rows])
    return replace(option, intercept=option.intercept + moved)


def _evaluate(rows: pd.DataFrame, scores: dict[str, np.ndarray], kind: str, unseen: np.ndarray) -> Trial:
    """Every option's figures on the newest period; the constant to beat knows what the models know.

    ``rows`` has the columns y, time and visitor; ``unseen`` marks visitors who do not occur in training.
    """
    y, visitors = rows["y"].to_numpy(), rows["visitor"].to_numpy()
    rate = float(scores[BASE_RATE][0])

    def figures(p: np.ndarray, part: np.ndarray) -> Report:
        return report(y[part], p[part], visitor=visitors[part], base_rate=rate)

    every = np.ones(len(rows), dtype=bool)
    return Trial(
        rows=rows.assign(score=scores[kind], base_rate=rate),
        chosen=figures(scores[kind], every),
        rivals={name: figures(p, every) for name, p in scores.items()},
        unseen=figures(scores[kind], unseen) if unseen.any() else None,
    )
