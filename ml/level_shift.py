"""The level of the outcome over time: how far the newest weeks lie above or below a model's log-odds.

A site's rate moves: a sale, a season, a broken form. Weighing only the newest weeks would follow chance, weighing
all would follow nothing, so the weeks themselves decide.
"""

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import chi2

GROUPS = 12
SIGNIFICANCE = 0.01
"""Weeks that would differ so much by chance once in a hundred times are taken to differ indeed."""


def shift(margins: np.ndarray, y: np.ndarray, times: pd.Series) -> float:
    """What to add to ``margins`` (log-odds, shape (n,)) for them to be right at the newest of ``times``.

    Every time (twelve groups of equal size when there are more) has its own best shift with its own
    uncertainty. If they agree (Cochran's Q) the answer is the shift of all; if not, it is the level of a random walk
    seen through that noise (Kalman's filter), its step estimated by moments from neighbouring weeks.
    """
    codes = pd.factorize(times, sort=True)[0]
    if codes.max() >= GROUPS:
        codes = (pd.Series(codes).rank(method="average").to_numpy() * GROUPS / (len(codes) + 1)).astype(int)
        codes = pd.factorize(codes, sort=True)[0]
    found, noise = _shifts(margins, y, codes)
    pooled = float(np.sum(found / noise) / np.sum(1 / noise))
    spread = float(np.sum((found - pooled) ** 2 / noise))
    if len(found) < 2 or chi2.sf(spread, len(found) - 1) > SIGNIFICANCE:
        return _shifts(margins, y, np.zeros(len(y), dtype=int))[0].item()
    step = max(0.0, float(np.mean(np.diff(found) ** 2 - noise[1:] - noise[:-1])))
    level, doubt = found[0], noise[0]
    for seen, error in zip(found[1:], noise[1:], strict=True):
        trust = (doubt + step) / (doubt + step + error)
        level += trust * (seen - level)
        doubt = (doubt + step) * (1 - trust)
    return float(level)


def _shifts(margins: np.ndarray, y: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best shift of each group and its variance, by Newton's steps; half an example on either side steadies it."""
    groups = int(codes.max()) + 1
    hits = np.bincount(codes, weights=y, minlength=groups)
    shifts = np.zeros(groups)
    noise = np.ones(groups)
    for _ in range(25):
        chances = expit(margins + shifts[codes])
        curve = np.bincount(codes, weights=chances * (1 - chances), minlength=groups) + 0.25
        slope = hits - np.bincount(codes, weights=chances, minlength=groups) - 0.5 * np.tanh(shifts / 2)
        move = np.clip(slope / curve, -1, 1)
        shifts, noise = shifts + move, 1 / curve
        if np.abs(move).max() < 1e-10:
            break
    return shifts, noise
