"""How good probabilities are: ranking, honesty, and the gain over knowing nothing but the base rate.

Works on any 0/1 outcomes and probabilities; nothing here knows visitors, weeks or our columns::

    quality = evaluation.report(outcomes, probabilities)
    quality.roc_auc, quality.calibration_slope, quality.deciles[0].lift
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import binom
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.bootstrap import Bound, mean_bound

MIN_DISTANCE = 1e-12
"""Probabilities are held this far from 0 and 1, so that one certain mistake costs 28 nats, not infinity."""


@dataclass(frozen=True)
class Decile:
    """A tenth of the rows, by falling score; decile 1 holds the highest.

    ``low`` and ``high`` are where ``observed`` lies with probability 95 % if the scores are right.
    """

    decile: int
    n: int
    positives: int
    mean_score: float
    observed: float
    low: float
    high: float
    lift: float
    gain: float

    @property
    def as_expected(self) -> bool:
        """Whether the observed rate lies in the interval of the expected one."""
        return self.low <= self.observed <= self.high


@dataclass(frozen=True)
class Report:
    """The figures of one set of probabilities. Rates are shares of 1, losses are in nats.

    ``share_of_gain`` is the part of the base rate's log-loss that the scores take away;
    ``advantage`` bounds the gain in log-loss over the base rate, per row (one-sided, paired).
    Figures that need both outcomes are NaN when only one is present.
    """

    n: int
    positives: int
    base_rate: float
    mean_score: float
    roc_auc: float
    average_precision: float
    brier: float
    log_loss: float
    log_loss_base_rate: float
    share_of_gain: float
    calibration_slope: float
    calibration_intercept: float
    deciles: tuple[Decile, ...]
    advantage: Bound

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: metadata of an asset, a row of ``ml.model_versions``."""
        return asdict(self)


def losses(y: np.ndarray, p: np.ndarray | float) -> np.ndarray:
    """Log-loss of each row in nats, shape (n,); ``p`` may be one number for all."""
    held = np.clip(np.broadcast_to(np.asarray(p, dtype="float64"), np.shape(y)), MIN_DISTANCE, 1 - MIN_DISTANCE)
    return -np.where(np.asarray(y) > 0, np.log(held), np.log1p(-held))


def report(
    y: ArrayLike,
    p: ArrayLike,
    *,
    visitor: np.ndarray | None = None,
    base_rate: float | None = None,
    confidence: float = 0.99,
    seed: int = 0,
) -> Report:
    """Judge probabilities ``p`` against outcomes ``y``, both of shape (n,).

    Args:
        y: Outcomes, 0/1 or boolean.
        p: Probabilities in [0, 1].
        visitor: Ids of what repeats over rows; rows of one id stay together in the bootstrap.
        base_rate: The constant to beat; unset, the rate of ``y`` itself, the best of all constants.
        confidence: Of each one-sided bound of ``advantage``.
        seed: Of the bootstrap.

    Raises:
        ValueError: No rows, unequal lengths, outcomes other than 0 and 1, or probabilities outside [0, 1].
    """
    outcomes, scores = _checked(y, p)
    both = 0 < outcomes.sum() < len(outcomes)
    rate = float(outcomes.mean())
    constant = rate if base_rate is None else float(base_rate)
    model_losses, base_losses = losses(outcomes, scores), losses(outcomes, constant)
    slope, intercept = calibration(outcomes, scores)
    base_loss = float(base_losses.mean())
    return Report(
        n=len(outcomes),
        positives=int(outcomes.sum()),
        base_rate=rate,
        mean_score=float(scores.mean()),
        roc_auc=float(roc_auc_score(outcomes, scores)) if both else float("nan"),
        average_precision=float(average_precision_score(outcomes, scores)) if both else float("nan"),
        brier=float(np.mean((scores - outcomes) ** 2)),
        log_loss=float(model_losses.mean()),
        log_loss_base_rate=base_loss,
        share_of_gain=1 - float(model_losses.mean()) / base_loss if base_loss > 0 else 0.0,
        calibration_slope=slope,
        calibration_intercept=intercept,
        deciles=deciles(outcomes, scores),
        advantage=mean_bound(base_losses - model_losses, cluster=visitor, confidence=confidence, seed=seed),
    )


def calibration(y: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the outcomes' log-odds on the scores' log-odds; (1, 0) is calibrated.

    A slope below 1 means too bold, above 1 too timid. The intercept is that of the same fit. NaN when the
    scores are all alike or one outcome is absent. Method: Cox (1958), fitted by Newton's steps.
    """
    scores = logit(np.clip(p, MIN_DISTANCE, 1 - MIN_DISTANCE))
    if np.ptp(scores) < 1e-9 or not 0 < np.sum(y) < len(y):
        return float("nan"), float("nan")
    weights = fit_logistic(scores[:, None], np.asarray(y, dtype="float64"))
    return float(weights[1]), float(weights[0])


def fit_logistic(
    x: np.ndarray, y: np.ndarray, *, prior: np.ndarray | None = None, precision: np.ndarray | None = None
) -> np.ndarray:
    """Logistic regression of a few columns by Newton's steps with halving; shape (k + 1,), intercept first.

    ``prior`` and ``precision`` (both shape (k + 1,)) pull the weights towards a normal prior, so that few
    examples cannot carry them far.
    """
    design = np.column_stack([np.ones(len(x)), x])
    centre = np.zeros(design.shape[1]) if prior is None else prior
    pull = np.full(design.shape[1], 1e-9) if precision is None else precision
    weights = centre.copy()

    def loss(candidate: np.ndarray) -> float:
        margins = design @ candidate
        return float(np.logaddexp(0, margins).sum() - y @ margins + 0.5 * pull @ (candidate - centre) ** 2)

    current = loss(weights)
    for _ in range(100):
        chances = expit(design @ weights)
        gradient = design.T @ (chances - y) + pull * (weights - centre)
        curvature = (design * (chances * (1 - chances))[:, None]).T @ design + np.diag(pull)
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(weights)), gradient)
        scale = 1.0
        while scale > 1e-6 and loss(weights - scale * step) > current + 1e-12:
            scale /= 2
        weights = weights - scale * step
        reached = loss(weights)
        if abs(current - reached) <= 1e-10 * max(1.0, abs(current)):
            break
        current = reached
    return weights


def deciles(y: np.ndarray, p: np.ndarray) -> tuple[Decile, ...]:
    """Ten groups of equal size by falling score (fewer when there are fewer rows).

    The interval is the binomial one at the mean score: a little wide, since true chances differ inside a
    decile, never too narrow. ``lift`` is the observed rate over that of all; ``gain`` the share of all
    positives found down to here.
    """
    order = np.argsort(-np.asarray(p), kind="stable")
    rate, total = float(np.mean(y)), max(float(np.sum(y)), 1.0)
    groups: list[Decile] = []
    found = 0
    for number, rows in enumerate(np.array_split(order, min(10, len(order))), start=1):
        n, positives = len(rows), int(np.sum(y[rows]))
        expected = float(np.mean(p[rows]))
        low, high = (float(binom.ppf(share, n, expected)) / n for share in (0.025, 0.975))
        found += positives
        groups.append(
            Decile(
                decile=number,
                n=n,
                positives=positives,
                mean_score=expected,
                observed=positives / n,
                low=low,
                high=high,
                lift=positives / n / rate if rate > 0 else float("nan"),
                gain=found / total,
            )
        )
    return tuple(groups)


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    try:
        outcomes = np.asarray(y, dtype="float64")
        scores = np.asarray(p, dtype="float64")
    except (TypeError, ValueError) as error:
        raise ValueError("Outcomes and probabilities must be numbers, and none may be missing.") from error
    if outcomes.ndim != 1 or outcomes.shape != scores.shape:
        raise ValueError("Outcomes and probabilities must be two lists of the same length.")
    if outcomes.size == 0:
        raise ValueError("There are no rows to judge.")
    if not np.isin(outcomes, (0, 1)).all():
        raise ValueError("Outcomes must be 0 or 1; leave out the rows whose outcome is not known yet.")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("Probabilities must lie between 0 and 1 and none may be missing.")
    return outcomes.astype("int8"), scores
