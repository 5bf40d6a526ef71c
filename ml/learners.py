"""The two learners that compete: boosted trees and a regularised logistic regression.

Both take frames that went through ``serving.prepare``, both are scikit-learn pipelines with nothing of ours
inside, so that any place with the same scikit-learn can run them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, SplineTransformer

from ml.evaluation import losses

MAX_LEAVES = 8
"""Small trees: they generalise better at these signal strengths, and ``ml.shapley`` can then explain a tree
exactly by a table of 2 ** 7 cases."""

MAX_TREES = 800
PATIENCE = 25
REGRESSION_ROWS = 200_000
"""The regression gains nothing from more rows, while its design grows to gigabytes."""

PENALTIES = (0.01, 0.1, 1.0)
KNOTS = 5
CATEGORIES = 60


class Learner(Protocol):
    """Learns from an earlier period with a later one at hand, then again from everything."""

    def learn(self, x: pd.DataFrame, y: np.ndarray, x_later: pd.DataFrame, y_later: np.ndarray) -> Pipeline:
        """Fit on (x, y); the later rows only tune."""
        ...

    def learn_all(self, tuned: Pipeline, x: pd.DataFrame, y: np.ndarray) -> Pipeline:
        """Fit on everything with what ``tuned`` had found."""
        ...


@dataclass(frozen=True)
class Boosting:
    """Histogram gradient boosting; rare categories are pooled, new ones count as missing."""

    numeric: list[str]
    categorical: list[str]
    seed: int

    def learn(self, x: pd.DataFrame, y: np.ndarray, x_later: pd.DataFrame, y_later: np.ndarray) -> Pipeline:
        """Stop early by the later period: left alone, scikit-learn would split at random."""
        columns = self._columns(x).fit(x)
        trees = self._trees(len(x), early_stopping=True, n_iter_no_change=PATIENCE)
        trees.fit(columns.transform(x), y, X_val=columns.transform(x_later), y_val=y_later)
        return Pipeline([("columns", columns), ("trees", trees)])

    def learn_all(self, tuned: Pipeline, x: pd.DataFrame, y: np.ndarray) -> Pipeline:
        """Keep the number of trees that did best on the later period."""
        best = int(np.argmax(tuned.named_steps["trees"].validation_score_))
        return Pipeline([("columns", self._columns(x)), ("trees", self._trees(len(x), max_iter=max(best, 1)))]).fit(
            x, y
        )

    def _columns(self, x: pd.DataFrame) -> ColumnTransformer:
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            min_frequency=rare(len(x)),
            max_categories=CATEGORIES,
        )
        # A column without any value has nothing to be cut at, and scikit-learn fails on it.
        numbers = [name for name in self.numeric if x[name].notna().any()]
        return ColumnTransformer([("text", encoder, self.categorical), ("numbers", "passthrough", numbers)])

    def _trees(self, rows: int, **settings: Any) -> HistGradientBoostingClassifier:  # noqa: ANN401
        fixed: dict[str, Any] = {
            "learning_rate": 0.05,
            "max_iter": MAX_TREES,
            "max_leaf_nodes": MAX_LEAVES,
            "min_samples_leaf": int(np.clip(rows // 500, 20, 200)),
            "l2_regularization": 10.0,
            "max_features": 0.5,
            "categorical_features": list(range(len(self.categorical))) or None,
            "early_stopping": False,
            "random_state": self.seed,
        }
        return HistGradientBoostingClassifier(**(fixed | settings))


@dataclass(frozen=True)
class Regression:
    """Regularised logistic regression on a piecewise linear curve of each number and a column a category."""

    numeric: list[str]
    categorical: list[str]
    seed: int

    def learn(self, x: pd.DataFrame, y: np.ndarray, x_later: pd.DataFrame, y_later: np.ndarray) -> Pipeline:
        """Take the penalty that does best on the later period."""
        rows = sample(len(x), REGRESSION_ROWS, self.seed)
        columns = self._columns(x.iloc[rows])
        design = columns.fit_transform(x.iloc[rows])
        later = sample(len(x_later), REGRESSION_ROWS, self.seed)
        design_later = columns.transform(x_later.iloc[later])
        fitted = [LogisticRegression(C=penalty, max_iter=1000).fit(design, y[rows]) for penalty in PENALTIES]
        best = min(fitted, key=lambda one: losses(y_later[later], expit(one.decision_function(design_later))).mean())
        return Pipeline([("columns", columns), ("weights", best)])

    def learn_all(self, tuned: Pipeline, x: pd.DataFrame, y: np.ndarray) -> Pipeline:
        """Keep the penalty."""
        rows = sample(len(x), REGRESSION_ROWS, self.seed)
        weights = LogisticRegression(C=tuned.named_steps["weights"].C, max_iter=1000)
        return Pipeline([("columns", self._columns(x.iloc[rows])), ("weights", weights)]).fit(x.iloc[rows], y[rows])

    def _columns(self, x: pd.DataFrame) -> ColumnTransformer:
        steps: list[tuple[str, Any, list[str]]] = []
        for name in self.numeric:
            steps += _number(name, x[name].to_numpy())
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            min_frequency=rare(len(x)),
            max_categories=CATEGORIES,
            sparse_output=False,
        )
        steps += [(f"text:{name}", encoder, [name]) for name in self.categorical]
        return ColumnTransformer(steps)


LEARNERS: dict[str, Callable[[list[str], list[str], int], Learner]] = {
    "regression": Regression,
    "boosting": Boosting,
}


def rare(rows: int) -> int:
    """Categories with fewer rows than this are pooled: they are too few to learn from."""
    return int(np.clip(rows // 2000, 10, 100))


def sample(rows: int, most: int, seed: int) -> np.ndarray:
    """Positions of at most ``most`` rows drawn without replacement, in order."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _number(name: str, values: np.ndarray) -> list[tuple[str, Any, list[str]]]:
    """The steps of one number: a curve with knots at its quantiles, and whether it is absent.

    The inverse hyperbolic sine is a logarithm that also takes zero and negative values. A column with one
    value has no curve.
    """
    present = np.arcsinh(values[~np.isnan(values)])
    knots = np.unique(np.quantile(present, np.linspace(0, 1, KNOTS))) if present.size else present
    steps: list[tuple[str, Any, list[str]]] = []
    if knots.size > 1:
        settings: dict[str, Any] = {"degree": 1, "knots": knots[:, None], "include_bias": False}
        curve = SplineTransformer(extrapolation="constant", **settings)
        parts = [SimpleImputer(strategy="median"), FunctionTransformer(np.arcsinh), curve]
        steps.append((f"number:{name}", make_pipeline(*parts), [name]))
    if 0 < present.size < values.size:
        steps.append((f"absent:{name}", MissingIndicator(features="all"), [name]))
    return steps
