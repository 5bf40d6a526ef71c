"""No score without grounds: are there examples enough, is the model better than a constant, is it the better one?"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd

from ml.bootstrap import Bound, mean_bound
from ml.evaluation import losses
from ml.model import Propensity, Trial
from ml.training import BASE_RATE

WEEK = pd.Timedelta(days=7)
RECENT_WEEKS = 4
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Grounds:
    """What was counted, which learners it allows, and one sentence for a marketer."""

    met: bool
    positives: int
    negatives: int
    weeks: int
    learners: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model beats the base rate beyond doubt, with one sentence for a marketer."""

    met: bool
    bound: Bound
    message: str


@dataclass(frozen=True)
class Decision:
    """What becomes of a challenger. ``none`` means that no model is fit to score."""

    action: Literal["promote", "keep", "none"]
    reason: str
    bound: Bound | None = None


def check(
    frame: pd.DataFrame,
    *,
    label: str,
    time: str,
    visitor: str,
    words: str = "conversion",
    regression: int = 300,
    boosting: int = 1000,
    weeks: int = 12,
) -> Grounds:
    """Count distinct visitor x week examples of either outcome in the newest ``weeks`` weeks.

    Args:
        frame: The training table; rows whose label is null do not count.
        label: Outcome, 0/1 or boolean.
        time: Cut-off of each row, a timestamp.
        visitor: Id of the visitor.
        words: What one positive is called.
        regression: Examples of the rarer outcome from which the regression may learn.
        boosting: Examples from which boosting may learn as well.
        weeks: How far back examples count.
    """
    known = frame.loc[frame[label].notna(), [label, time, visitor]]
    if known.empty:
        message = f"No outcome is known yet; {regression:,} examples of a {words} are needed."
        return Grounds(met=False, positives=0, negatives=0, weeks=0, learners=(), message=message)
    age = ((known[time].max() - known[time]) // WEEK).astype(int)
    positive = known[label].astype(bool).to_numpy()
    examples = pd.DataFrame({"visitor": known[visitor], "age": age, "positive": positive})[(age < weeks).to_numpy()]
    examples = examples.groupby(["visitor", "age"], sort=False)["positive"].any().reset_index()
    span = int(examples["age"].max()) + 1
    per_week = np.bincount(examples.loc[examples["positive"], "age"], minlength=span)
    positives, negatives = int(per_week.sum()), int((~examples["positive"]).sum())
    rarer, counted = positives, f"{positives:,} examples of a {words}"
    if negatives < positives:
        per_week = np.bincount(examples.loc[~examples["positive"], "age"], minlength=span)
        rarer, counted = negatives, f"{negatives:,} examples of visitors without a {words}"
    learners = tuple(name for name, least in (("regression", regression), ("boosting", boosting)) if rarer >= least)
    message = f"{counted} in {_count(span)}"
    if not learners:
        message += f"; {regression:,} are needed; {_outlook(per_week, regression, weeks)}"
    elif "boosting" not in learners:
        message += f": enough for the regression; boosting joins at {boosting:,}"
    else:
        message += ": enough for every model"
    return Grounds(
        met=bool(learners),
        positives=positives,
        negatives=negatives,
        weeks=span,
        learners=learners,
        message=message + ".",
    )


def confirm(model: Propensity) -> Verdict:
    """Whether the fresh ``model`` beat the base rate on the newest period (one-sided 99 % paired bootstrap).

    Raises:
        ValueError: The model was loaded, so its trial is gone.
    """
    trial = _trial(model)
    bound = trial.chosen.advantage
    met = model.kind != BASE_RATE and bound.lower > 0
    share = trial.chosen.share_of_gain
    if met:
        message = f"The scores beat the base rate: they take away {share:.1%} of its error on the newest weeks."
    else:
        message = (
            "What visitors did does not yet tell who will: on the newest weeks the scores are not better than "
            f"one average for all ({trial.chosen.positives:,} examples there). No scores are given; the next weeks "
            "may decide."
        )
    return Verdict(met=met, bound=bound, message=message)


def decide(
    challenger: Propensity,
    champion: Propensity | None,
    frame: pd.DataFrame,
    *,
    horizon: timedelta = timedelta(0),
    drift: bool = False,
) -> Decision:
    """Whether ``challenger`` replaces ``champion``.

    Both are judged on rows that neither had learned from: those of the challenger's trial that lie at least
    ``horizon`` after the champion's last cut-off. The challenger must first beat the base rate.

    Args:
        challenger: Fresh from ``training.fit``.
        champion: The model in use, if any.
        frame: The very table that ``training.fit`` was given.
        horizon: How far ahead the label looks.
        drift: Whether ``ml.monitoring`` reports drift; then the challenger may be up to 1 % worse (upper 95 %
            bound), since the champion learned another world.

    Raises:
        ValueError: The challenger has no trial.
    """
    rows = _trial(challenger).rows
    verdict = confirm(challenger)
    if not verdict.met:
        return Decision("keep" if champion else "none", verdict.message, verdict.bound)
    if champion is None:
        return Decision("promote", f"The first model. {verdict.message}", verdict.bound)
    after = pd.Timestamp(champion.data_until)
    newer = rows[(rows["time"] > after) & (rows["time"] >= after + horizon)]
    if newer.empty:
        return Decision("keep", f"There is no week newer than the model in use has seen ({after:%Y-%m-%d}).")
    try:
        scores = champion.predict(frame.iloc[newer.index])
    except ValueError as error:
        return Decision("promote", f"The model in use cannot read today's table: {error}")
    return compare(newer, scores, drift=drift)


def compare(rows: pd.DataFrame, champion: np.ndarray, *, drift: bool) -> Decision:
    """The duel itself, on paired log-loss.

    Args:
        rows: ``y``, the challenger's ``score`` and ``visitor`` of rows that neither model has seen.
        champion: The champion's scores of these rows, shape (n,).
        drift: As ``decide``.
    """
    y = rows["y"].to_numpy()
    old, new = losses(y, champion), losses(y, rows["score"].to_numpy())
    bound = mean_bound(new - old, cluster=rows["visitor"].to_numpy(), confidence=0.95)
    change = f"its error on {len(y):,} newer examples is {bound.mean / old.mean():+.2%} against the model in use"
    if bound.mean <= 0:
        return Decision("promote", f"Better or equal: {change}.", bound)
    if drift and bound.upper <= 0.01 * old.mean():
        return Decision("promote", f"Behaviour has drifted, and {change}: at most 1 % worse.", bound)
    return Decision("keep", f"Not better: {change}.", bound)


def _trial(model: Propensity) -> Trial:
    if model.trial is None:
        raise ValueError("Only a model fresh from training can be judged; train it again.")
    return model.trial


def _outlook(per_week: np.ndarray, needed: int, weeks: int) -> str:
    """When a window of ``weeks`` will hold enough if the newest weeks go on; ``per_week`` is newest first."""
    rate = float(per_week[:RECENT_WEEKS].mean())
    for ahead in range(1, weeks + 1):
        if rate * ahead + per_week[: weeks - ahead].sum() >= needed:
            return f"at the present rate about {ahead} week{'s' if ahead > 1 else ''}"
    return (
        f"at the present rate {_count(weeks)} hold about {math.floor(rate * weeks):,}, so more visitors or a more "
        "frequent goal are needed"
    )


def _count(weeks: int) -> str:
    number = WORDS[weeks] if weeks < len(WORDS) else f"{weeks:,}"
    return f"{number} week{'' if weeks == 1 else 's'}"
