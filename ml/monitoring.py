"""Whether visitors still behave as they did, and whether past scores kept their promise.

Pure functions on frames: two samples of features or scores in, figures out.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, chi2

from ml.features import describe
from ml.serving import ABSENT

BINS = 10
CATEGORIES = 20
MOVED_PSI = 0.1
CHANGED_PSI = 0.25
"""Below 0.1 a population is stable, above 0.25 it has changed: the customary limits of the index (Siddiqi 2006)."""

FALSE_ALARM_RATE = 0.001
"""An alarm that is false once in a thousand times."""


@dataclass(frozen=True)
class Drift:
    """The population stability index of one column.

    ``limit`` is what the index exceeds by chance once in a thousand times for samples of these sizes, so that
    small samples raise no alarm. ``changed`` means above both ``limit`` and 0.25; ``moved`` above both ``limit``
    and 0.1.
    """

    column: str
    label: str
    psi: float
    limit: float
    moved: bool
    changed: bool


@dataclass(frozen=True)
class Realised:
    """What became of the visitors scored at one cut-off.

    ``low`` and ``high`` are where ``converted`` lies with probability 95 % if the scores are right; ``chance`` is how
    often right scores would miss by so much or more; ``hot_share`` is the part of conversions that were hot.
    """

    as_of: pd.Timestamp
    visitors: int
    expected: float
    converted: int
    low: int
    high: int
    hot_share: float
    kept: bool
    chance: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}


def drift(
    before: pd.DataFrame, now: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str]
) -> list[Drift]:
    """The stability of every column, most changed first.

    Args:
        before: Rows the model learned from, or scores of the weeks it was judged on.
        now: Rows of today.
        numeric: Numeric columns: compared in ten bins of equal size of ``before``, absent values apart.
        categorical: Text columns: compared by value, beyond the 20 most frequent of ``before`` together.

    Raises:
        ValueError: One of the frames has no rows.
    """
    if before.empty or now.empty:
        raise ValueError("Drift needs rows of both times.")
    found = [_drift(name, *_number_shares(before[name], now[name]), len(before), len(now)) for name in numeric]
    found += [_drift(name, *_text_shares(before[name], now[name]), len(before), len(now)) for name in categorical]
    return sorted(found, key=lambda one: -one.psi)


def score_drift(before: np.ndarray, now: np.ndarray) -> Drift:
    """The stability of the scores themselves; both of shape (n,)."""
    counts = _number_shares(pd.Series(before), pd.Series(now))
    return _drift("score", *counts, len(before), len(now))


def has_drifted(found: Sequence[Drift], *, moved: int = 3) -> bool:
    """Whether any column changed, or at least ``moved`` of them moved.

    What grows with a site's age by itself gives no alarm: on a site of some months the days since a first visit
    exceed every limit from one month to the next.
    """
    telling = [one for one in found if not describe(one.column).grows]
    return any(one.changed for one in telling) or sum(one.moved for one in telling) >= moved


def realised(scores: pd.DataFrame, outcomes: pd.DataFrame, *, label: str) -> list[Realised]:
    """The promise against what happened, oldest cut-off first; cut-offs whose outcome is not known are left out.

    Args:
        scores: ``site_id``, ``user_id``, ``as_of``, ``score`` and ``band`` of past scorings.
        outcomes: ``site_id``, ``user_id``, ``as_of`` and ``label``, null while unknown.
        label: 0/1 or boolean column of ``outcomes``.
    """
    keys = ["site_id", "user_id", "as_of"]
    known = outcomes.loc[outcomes[label].notna(), [*keys, label]]
    joined = scores.merge(known, on=keys, how="inner", validate="one_to_one")
    return [_realised(rows, label) for _, rows in joined.groupby("as_of", sort=True)]


def outcomes_contradict_scores(found: Sequence[Realised]) -> bool:
    """Whether the newest outcome is one that right scores would give less than once in a thousand times."""
    return bool(found) and found[-1].chance < FALSE_ALARM_RATE


def _realised(rows: pd.DataFrame, label: str) -> Realised:
    hits = rows[label].astype(bool)
    n, expected, converted = len(rows), float(rows["score"].sum()), int(hits.sum())
    rate = expected / n
    low, high = (int(binom.ppf(share, n, rate)) for share in (0.025, 0.975))
    hot = float(hits[rows["band"] == "hot"].sum()) / converted if converted else 0.0
    return Realised(
        as_of=rows["as_of"].iloc[0],
        visitors=n,
        expected=expected,
        converted=converted,
        low=low,
        high=high,
        hot_share=hot,
        kept=low <= converted <= high,
        chance=min(1.0, 2 * min(float(binom.cdf(converted, n, rate)), float(binom.sf(converted - 1, n, rate)))),
    )


def _drift(column: str, before: np.ndarray, now: np.ndarray, n_before: int, n_now: int) -> Drift:
    # Half an example in every bin keeps an empty one from being infinite.
    p = (before + 0.5) / (before.sum() + 0.5 * len(before))
    q = (now + 0.5) / (now.sum() + 0.5 * len(now))
    psi = float(((q - p) * np.log(q / p)).sum())
    # For equal populations the index is about chi-squared times (1/n + 1/m): Yurdakul and Naranjo (2020).
    limit = float(chi2.isf(FALSE_ALARM_RATE, max(len(before) - 1, 1))) * (1 / n_before + 1 / n_now)
    label = "score" if column == "score" else describe(column).label
    return Drift(column, label, psi, limit, moved=psi > max(limit, MOVED_PSI), changed=psi > max(limit, CHANGED_PSI))


def _number_shares(before: pd.Series, now: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    old = pd.to_numeric(before).to_numpy(dtype="float64", na_value=np.nan)
    new = pd.to_numeric(now).to_numpy(dtype="float64", na_value=np.nan)
    present = old[~np.isnan(old)]
    inner = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if present.size else np.array([0.0])

    def counts(values: np.ndarray) -> np.ndarray:
        places = np.where(np.isnan(values), len(inner) + 1, np.searchsorted(inner, values, side="left"))
        return np.bincount(places, minlength=len(inner) + 2).astype("float64")

    return _occupied(counts(old), counts(new))


def _text_shares(before: pd.Series, now: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    old, new = (part.astype(object).where(part.notna(), ABSENT).astype(str) for part in (before, now))
    kept = old.value_counts().index[:CATEGORIES]

    def counts(values: pd.Series) -> np.ndarray:
        places = kept.get_indexer(pd.Index(values))
        return np.bincount(np.where(places < 0, len(kept), places), minlength=len(kept) + 1).astype("float64")

    return _occupied(counts(old), counts(new))


def _occupied(before: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the bins that are empty at both times."""
    used = (before + now) > 0
    return before[used], now[used]
