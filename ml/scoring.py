"""Scores for visitors: how likely, in which tenth, hot or cold, and why.

**Decile** 1 holds the tenth of the visitors with the highest scores, 10 the lowest.

**Band** follows expected conversions, that is the sum of scores. Visitors are lined up by falling score: *hot* are
those who together hold the first half of all expected conversions, *warm* the next three tenths, *cold* the rest.
So "hot" is the shortest list that reaches half of the coming conversions, and it is as long as the day's behaviour
makes it; no score is hot by itself. Visitors with the same score share a band: they stand where the middle of
their group stands. When all scores are alike, all are warm.

**Reasons** are the three strongest themes by the sum of the Shapley values of their columns (``ml.shapley``), each
described by its strongest column: "more likely: added to cart 2 days ago".
"""

import numpy as np
import pandas as pd

from ml import serving, shapley
from ml.features import KEYS, SITE, TIME, describe
from ml.model import Propensity
from ml.phrases import LESS, MORE, phrases

COLUMNS = ("site_id", "user_id", "as_of", "score", "decile", "band", "reasons", "model_version")
HOT = 0.5
WARM = 0.8
REASONS = 3
CHUNK = 100_000
MIN_CONTRIBUTION = 1e-6
"""Contributions below this, in log-odds, are nothing; such a row has fewer reasons."""


def score(model: Propensity, frame: pd.DataFrame) -> pd.DataFrame:
    """Score visitors; the same model and frame always give the same rows, in the order of ``frame``.

    Args:
        model: Fitted or loaded.
        frame: ``site_id``, ``user_id``, ``as_of`` and the model's columns, one row a visitor and cut-off: all
            active visitors of a site, since deciles and bands rank them within their site and cut-off.

    Returns:
        The columns of ``COLUMNS``; ``reasons`` is a list of at most three sentences.

    Raises:
        ValueError: A column is missing, or a visitor has two rows for one cut-off.
    """
    missing = [name for name in KEYS if name not in frame.columns]
    if missing:
        raise ValueError(f"The table lacks the column(s) {', '.join(missing)}.")
    if frame.duplicated(list(KEYS)).any():
        raise ValueError("A visitor has two rows for one cut-off; give one row each.")
    features = serving.prepare(frame, model.numeric, model.categorical).reset_index(drop=True)
    scores = 1.0 / (1.0 + np.exp(-serving.margin(model.bundle, features)))
    scored = frame[list(KEYS)].reset_index(drop=True).assign(score=scores, decile=0, band="")
    groups = scored.groupby([SITE, TIME], sort=False).indices
    for rows in groups.values():
        scored.loc[rows, "decile"] = deciles(scores[rows])
        scored.loc[rows, "band"] = bands(scores[rows])
    scored["reasons"] = reasons(model, features)
    scored["model_version"] = model.version
    return scored[list(COLUMNS)]


def deciles(scores: np.ndarray) -> np.ndarray:
    """1 (highest) to 10 for each score, shape (n,); equal scores share the decile of their middle."""
    places = pd.Series(-scores).rank(method="average").to_numpy() - 0.5
    return np.minimum((places * 10 / max(len(scores), 1)).astype(int) + 1, 10)


def bands(scores: np.ndarray) -> np.ndarray:
    """hot, warm or cold for each score, shape (n,), by the rule at the head of this file."""
    levels, group = np.unique(-scores, return_inverse=True)
    held = np.bincount(group, weights=scores, minlength=len(levels))
    middle = np.cumsum(held) - held / 2
    share = middle / max(float(held.sum()), np.finfo(float).tiny)
    return np.select([share < HOT, share < WARM], ["hot", "warm"], "cold").astype(object)[group]


def reasons(model: Propensity, features: pd.DataFrame) -> list[list[str]]:
    """At most three sentences for each row of ``features`` (through ``serving.prepare``), strongest first."""
    found: list[list[str]] = []
    for start in range(0, len(features), CHUNK):
        part = features.iloc[start : start + CHUNK]
        found.extend(_reason_sentences(part, shapley.contributions(model.bundle, part)))
    return found


def _reason_sentences(features: pd.DataFrame, values: np.ndarray) -> list[list[str]]:
    columns = list(features.columns)
    theme_of, themes = pd.factorize(np.array([describe(name).theme for name in columns], dtype=object))
    sums = np.zeros((len(values), len(themes)))
    for column, theme in enumerate(theme_of):
        sums[:, theme] += values[:, column]
    strongest = np.argsort(-np.abs(sums), axis=1, kind="stable")[:, :REASONS]
    sentences = np.full((len(values), strongest.shape[1]), None, dtype=object)
    phrases_by_column = {name: phrases(name, features[name].to_numpy()) for name in columns}
    row = np.arange(len(values))
    for place in range(strongest.shape[1]):
        theme = strongest[:, place]
        total = sums[row, theme]
        along = np.where(theme_of[None, :] == theme[:, None], values * np.sign(total)[:, None], -np.inf)
        strongest_column = along.argmax(axis=1)
        for column, name in enumerate(columns):
            rows = np.flatnonzero((strongest_column == column) & (np.abs(total) > MIN_CONTRIBUTION))
            prefix = np.where(total[rows] > 0, MORE, LESS).astype(object)
            sentences[rows, place] = prefix + phrases_by_column[name][rows]
    return [[sentence for sentence in row if sentence is not None] for row in sentences.tolist()]
