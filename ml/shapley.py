"""Exact Shapley values of our models, fast enough for a million visitors.

A visitor's log-odds are shared among the columns as Shapley values of the game "this visitor's values for the
columns of a coalition, a stranger's for the rest", averaged over strangers: interventional values as in Lundberg et
al., "From local explanations to global understanding with explainable AI for trees" (2020). They add up: the sum
over columns is the visitor's log-odds less the mean of the strangers'.

* A regression is a sum of functions of one column each, so a column's value is its function less its mean.
* A tree of eight leaves has seven splits, hence at most 2 ** 7 outcomes of all its splits. How often strangers show
  each outcome is counted once, at training; from these counts the values for every outcome follow exactly, and a
  visitor's are one look-up a tree. Only counts are kept, no row of any person.
"""

from collections.abc import Callable
from functools import cache
from itertools import product
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

CHUNK = 50_000
"""Rows explained at a time: the working arrays stay within the processor's caches."""

SPLITS = 7
OUTCOMES = 2**SPLITS

Explainer = Callable[[pd.DataFrame], np.ndarray]


def backgrounds(bundle: dict[str, Any], strangers: pd.DataFrame) -> list[np.ndarray]:
    """What must be kept of the strangers, one array for each estimator.

    Args:
        bundle: As ``ml.serving`` describes it.
        strangers: Training rows through ``serving.prepare``; some thousands are plenty.
    """
    columns = [*bundle["numeric"], *bundle["categorical"]]
    return [_background(estimator, strangers, columns) for estimator in bundle["estimators"]]


def contributions(bundle: dict[str, Any], features: pd.DataFrame) -> np.ndarray:
    """Shapley values in log-odds, shape (n, columns), the numeric columns first, then the text columns.

    Args:
        bundle: As ``ml.serving`` describes it, with its "backgrounds".
        features: Rows that went through ``serving.prepare``.
    """
    columns = [*bundle["numeric"], *bundle["categorical"]]
    total = np.zeros((len(features), len(columns)))
    for estimator, slope, known in zip(bundle["estimators"], bundle["slopes"], bundle["backgrounds"], strict=True):
        explain = _explainer(estimator, known, columns)
        for start in range(0, len(features), CHUNK):
            rows = slice(start, start + CHUNK)
            total[rows] += slope * explain(features.iloc[rows])
    return total


def _background(estimator: Pipeline, strangers: pd.DataFrame, columns: list[str]) -> np.ndarray:
    model: Any = estimator[-1]
    if isinstance(model, HistGradientBoostingClassifier):
        matrix = _matrix(estimator, strangers)
        return np.stack([np.bincount(tree.outcomes(matrix), minlength=OUTCOMES) for tree in _trees(model)])
    return (estimator[:-1].transform(strangers) @ _by_column(estimator, columns)).mean(axis=0)


def _explainer(estimator: Pipeline, known: np.ndarray, columns: list[str]) -> Explainer:
    model: Any = estimator[-1]
    if isinstance(model, HistGradientBoostingClassifier):
        return _explain_trees(estimator, known, columns)
    weights = _by_column(estimator, columns)
    return lambda features: estimator[:-1].transform(features) @ weights - known


def _by_column(estimator: Pipeline, columns: list[str]) -> np.ndarray:
    """A regression's weights, shape (design, columns): each in the column that its design column came from."""
    design: Any = estimator[0]
    model: Any = estimator[-1]
    weights = model.coef_[0]
    spread = np.zeros((len(weights), len(columns)))
    for name, place in design.output_indices_.items():
        column = name.partition(":")[2]
        if column in columns:
            spread[place, columns.index(column)] = weights[place]
    return spread


def _explain_trees(estimator: Pipeline, known: np.ndarray, columns: list[str]) -> Explainer:
    design: Any = estimator[0]
    text, numbers = (step[2] for step in design.transformers_[:2])
    order = [columns.index(name) for name in (*text, *numbers)]
    model: Any = estimator[-1]
    trees = _trees(model)
    tables = [tree.table(counts) for tree, counts in zip(trees, known, strict=True)]

    def explain(features: pd.DataFrame) -> np.ndarray:
        matrix = _matrix(estimator, features)
        values = np.zeros((len(columns), len(features)))
        for tree, table in zip(trees, tables, strict=True):
            outcomes = tree.outcomes(matrix)
            for place, shares in table.items():
                values[order[place]] += shares[outcomes]
        return values.T

    return explain


def _matrix(estimator: Pipeline, features: pd.DataFrame) -> np.ndarray:
    """What the trees split on, shape (n, columns), column by column in memory."""
    model: Any = estimator[-1]
    return np.asfortranarray(model._preprocess_X(estimator[:-1].transform(features), reset=False))


def _trees(model: Any) -> list["_Tree"]:  # noqa: ANN401  # scikit-learn keeps its trees in a private attribute
    return [_Tree(predictors[0]) for predictors in model._predictors]


class _Tree:
    """One tree, seen as the outcomes of its splits."""

    def __init__(self, predictor: Any) -> None:  # noqa: ANN401  # scikit-learn's TreePredictor
        self.nodes = predictor.nodes
        self.bitsets = predictor.raw_left_cat_bitsets
        self.splits = np.flatnonzero(self.nodes["is_leaf"] == 0)
        if len(self.splits) > SPLITS:
            raise ValueError(f"A tree has {len(self.splits)} splits; at most {SPLITS} can be explained.")

    def outcomes(self, matrix: np.ndarray) -> np.ndarray:
        """For each row of ``matrix`` the outcomes of all splits, one bit each: 1 is left. Shape (n,), uint8."""
        found = np.zeros(len(matrix), dtype=np.uint8)
        for bit, place in enumerate(self.splits):
            found |= self._left(self.nodes[place], matrix).view(np.uint8) << np.uint8(bit)
        return found

    def table(self, counts: np.ndarray) -> dict[int, np.ndarray]:
        """For each column of the matrix that the tree splits on: the Shapley value of each outcome, (128,)."""
        bits = (np.arange(OUTCOMES)[:, None] >> np.arange(max(len(self.splits), 1))) & 1 == 1
        shares = counts / counts.sum()
        values: dict[int, np.ndarray] = {}
        for leaf, path in self._paths():
            columns = sorted({int(self.nodes[self.splits[bit]]["feature_idx"]) for bit, _ in path})
            open_to = np.ones((OUTCOMES, len(columns)), dtype=bool)
            for bit, left in path:
                place = columns.index(int(self.nodes[self.splits[bit]]["feature_idx"]))
                open_to[:, place] &= bits[:, bit] == left
            pattern = open_to @ (1 << np.arange(len(columns)))
            strangers = np.bincount(pattern, weights=shares, minlength=2 ** len(columns))
            split = leaf * np.einsum("q,pqi->pi", strangers, _kernel(len(columns)))
            for place, column in enumerate(columns):
                values[column] = values.get(column, np.zeros(OUTCOMES)) + split[pattern, place]
        return values

    def _left(self, node: Any, matrix: np.ndarray) -> np.ndarray:  # noqa: ANN401  # one record of the nodes
        values = matrix[:, node["feature_idx"]]
        if node["is_categorical"]:
            bitset = self.bitsets[node["bitset_idx"]]
            left = np.array([(bitset[code // 32] >> (code % 32)) & 1 for code in range(256)], dtype=bool)
            absent = np.isnan(values)
            chosen = left[np.where(absent, 0, values).astype(np.uint8)]
            return np.where(absent, bool(node["missing_go_to_left"]), chosen)
        if node["missing_go_to_left"]:
            return ~(values > node["num_threshold"])
        return values <= node["num_threshold"]

    def _paths(self) -> list[tuple[float, list[tuple[int, bool]]]]:
        """Each leaf's value with the splits above it and the side taken at each."""
        bit_of = {int(place): bit for bit, place in enumerate(self.splits)}
        found: list[tuple[float, list[tuple[int, bool]]]] = []
        open_ends: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
        while open_ends:
            place, path = open_ends.pop()
            node = self.nodes[place]
            if node["is_leaf"]:
                if path:
                    found.append((float(node["value"]), path))
                continue
            open_ends.append((int(node["left"]), [*path, (bit_of[place], True)]))
            open_ends.append((int(node["right"]), [*path, (bit_of[place], False)]))
        return found


@cache
def _kernel(players: int) -> np.ndarray:
    """Shapley values of one leaf of value 1, shape (2 ** k, 2 ** k, k): visitor's pattern, stranger's, column.

    A coalition reaches the leaf when it takes from the visitor every column that only the visitor fulfils (a of
    them) and none that only the stranger fulfils (b): (a - 1)! b! / (a + b)! for the former, minus a! (b - 1)! /
    (a + b)! for the latter.
    """
    kernel = np.zeros((2**players, 2**players, players))
    for mine, theirs in product(range(2**players), repeat=2):
        if mine | theirs != 2**players - 1:
            continue
        a, b = (mine & ~theirs).bit_count(), (theirs & ~mine).bit_count()
        for column in range(players):
            if (mine & ~theirs) >> column & 1:
                kernel[mine, theirs, column] = factorial(a - 1) * factorial(b) / factorial(a + b)
            elif (theirs & ~mine) >> column & 1:
                kernel[mine, theirs, column] = -factorial(a) * factorial(b - 1) / factorial(a + b)
    return kernel
