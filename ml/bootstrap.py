"""Bounds on the mean of paired differences, by a bootstrap that keeps each visitor's rows together."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

MAX_BLOCKS = 10_000
"""Visitors are pooled at random into at most so many blocks; sums over blocks stay independent, and the
cost no longer grows with the table."""

CHUNK = 200


@dataclass(frozen=True)
class Bound:
    """The mean of a difference with one-sided bounds, each holding with probability ``confidence``."""

    mean: float
    lower: float
    upper: float
    confidence: float
    clusters: int


def mean_bound(
    differences: np.ndarray,
    *,
    cluster: np.ndarray | None = None,
    confidence: float = 0.99,
    repeats: int = 2000,
    seed: int = 0,
) -> Bound:
    """One-sided percentile bounds of the mean of ``differences``, shape (n,).

    Rows of one ``cluster`` (any hashable ids, shape (n,)) are drawn together, since the same visitor in
    several weeks is not several witnesses; rows without an id stand for themselves. Method: cluster bootstrap of a
    ratio of sums, Davison and Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.

    Raises:
        ValueError: There are no rows, or lengths differ.
    """
    values = np.asarray(differences, dtype="float64")
    if values.size == 0:
        raise ValueError("There are no rows to compare.")
    rng = np.random.default_rng(seed)
    if cluster is None:
        codes, clusters = np.arange(values.size), values.size
    else:
        if len(cluster) != values.size:
            raise ValueError("The clusters and the differences differ in length.")
        codes, uniques = pd.factorize(np.asarray(cluster))
        without_id = codes < 0
        codes[without_id] = len(uniques) + np.arange(without_id.sum())
        clusters = len(uniques) + int(without_id.sum())
    if clusters > MAX_BLOCKS:
        blocks = rng.permutation(clusters) % MAX_BLOCKS
        codes = blocks[codes]
    count = min(clusters, MAX_BLOCKS)
    sums = np.bincount(codes, weights=values, minlength=count)
    sizes = np.bincount(codes, minlength=count).astype("float64")
    means = np.empty(repeats)
    for start in range(0, repeats, CHUNK):
        stop = min(start + CHUNK, repeats)
        drawn = rng.integers(0, count, size=(stop - start, count))
        means[start:stop] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [1 - confidence, confidence])
    return Bound(float(values.mean()), float(low), float(high), confidence, clusters)
