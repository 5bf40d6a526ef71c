"""How a stored model turns rows into probabilities.

This file is the whole of what MindsDB runs: it is uploaded as the code of the engine, so it imports
nothing of ours, and training, scoring and MindsDB cannot drift apart. A stored model is a plain
dictionary (a *bundle*) of scikit-learn objects and numbers:

==============  ==========================================================================
numeric         names of the numeric columns, in order
categorical     names of the text columns, in order
estimators      fitted pipelines with a ``decision_function`` in log-odds
slopes          one weight for each estimator
intercept       added to the weighted sum; together they are the calibration
backgrounds     what ``ml.shapley`` needs to explain a score; not used here
==============  ==========================================================================

``probability = 1 / (1 + exp(-(intercept + sum(slope * estimator(row)))))``.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import skops.io

ABSENT = "(none)"
"""What a missing text value is called: a category of its own, since "no campaign" tells something."""

CHUNK = 100_000
"""Rows that go through the pipelines at a time, which bounds the memory they take."""

SCHEMA = "schema.json"
"""The member of a skops archive that names every type in it."""

TRUSTED = frozenset(
    {
        "builtins.bool",
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.slice",
        "builtins.str",
        "builtins.tuple",
        "builtins.type",
        "functools.partial",
        "numpy.arcsinh",
        "numpy.bool",
        "numpy.dtype",
        "numpy.float64",
        "numpy.int32",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.random._generator.Generator",
        "numpy.random._pcg64.PCG64",
        "numpy.uint32",
        "numpy.uint64",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.preprocessing._polynomial.SplineTransformer",
        "sklearn.utils.validation.check_array",
    }
)
"""The types and functions that our models are made of; a stored model that names any other is refused."""


def prepare(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    """Give every feature the type the pipelines were fitted with.

    Numbers arrive as Int64, object or Decimal from databases and become float64, absent ones NaN;
    text becomes str, absent or empty text ``ABSENT``. The index is kept.

    Raises:
        ValueError: A column is missing or a numeric column holds something that is no number.
    """
    missing = [name for name in (*numeric, *categorical) if name not in frame.columns]
    if missing:
        raise ValueError(f"The table lacks the column(s) {', '.join(missing)}; select them too.")
    columns: dict[str, Any] = {}
    for name in numeric:
        values = pd.to_numeric(frame[name], errors="raise").to_numpy(dtype="float64", na_value=np.nan)
        columns[name] = np.where(np.isinf(values), np.nan, values)
    for name in categorical:
        codes, uniques = pd.factorize(frame[name], use_na_sentinel=True)
        words = np.array([ABSENT, *(str(value).strip() or ABSENT for value in uniques)], dtype=object)
        columns[name] = words[codes + 1]
    return pd.DataFrame(columns, index=frame.index)


def decision(estimator: Any, features: pd.DataFrame) -> np.ndarray:  # noqa: ANN401  # any classifier
    """Log-odds of one pipeline, shape (n,), in pieces that bound the memory."""
    result = np.empty(len(features))
    for start in range(0, len(features), CHUNK):
        rows = slice(start, start + CHUNK)
        result[rows] = estimator.decision_function(features.iloc[rows])
    return result


def margin(bundle: dict[str, Any], features: pd.DataFrame) -> np.ndarray:
    """Calibrated log-odds, shape (n,), of rows that went through ``prepare``."""
    total = np.full(len(features), float(bundle["intercept"]))
    for estimator, slope in zip(bundle["estimators"], bundle["slopes"], strict=True):
        total += float(slope) * decision(estimator, features)
    return total


def probability(bundle: dict[str, Any], frame: pd.DataFrame) -> np.ndarray:
    """Calibrated probabilities, shape (n,), of the rows of any table that holds the features."""
    return 1.0 / (1.0 + np.exp(-margin(bundle, prepare(frame, bundle["numeric"], bundle["categorical"]))))


def named_types(content: bytes) -> set[str]:
    """Every type and function that a stored model names, without building any of it.

    Raises:
        ValueError: The bytes are no stored model.
    """
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            schema = json.loads(archive.read(SCHEMA))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError("These bytes are no stored model; train it again.") from error
    return set(_walk(schema))


def _walk(node: Any) -> Iterator[str]:  # noqa: ANN401  # any JSON
    if isinstance(node, dict):
        if "__module__" in node:
            yield f"{node['__module__']}.{node.get('__class__')}"
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


def load(content: bytes) -> dict[str, Any]:
    """The bundle in a stored model.

    The types are compared with ``TRUSTED`` before anything is built, since skops alone would build every
    scikit-learn class; and a model of another scikit-learn is refused, since it may load and yet be wrong.

    Raises:
        ValueError: Unknown types, another scikit-learn, or no stored model at all.
    """
    strangers = named_types(content) - TRUSTED
    if strangers:
        raise ValueError(f"The stored model names types that are not listed: {', '.join(sorted(strangers))}.")
    made_by = _made_by(content)
    if made_by != sklearn.__version__:
        raise ValueError(
            f"The model was made by scikit-learn {made_by} and this is {sklearn.__version__}; "
            f"install scikit-learn=={made_by} here or train the model again."
        )
    return skops.io.loads(content, trusted=sorted(TRUSTED))


def _made_by(content: bytes) -> str:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return archive.comment.decode("ascii", errors="replace")


class PropensityModel:
    """What MindsDB calls. Its state, kept by MindsDB, is the stored model's bytes and their hash."""

    def train(self, df: pd.DataFrame, target: str, args: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Take the one row of ``ml.model_versions`` that was selected: columns artifact and artifact_sha256.

        Raises:
            ValueError: Not exactly one row, altered bytes, or a model that cannot be used here.
        """
        if len(df) != 1:
            raise ValueError(f"Select exactly one model version, not {len(df)}.")
        row = df.iloc[0]
        content = row["artifact"]
        content = bytes.fromhex(content.removeprefix("\\x")) if isinstance(content, str) else bytes(content)
        if hashlib.sha256(content).hexdigest() != row["artifact_sha256"]:
            raise ValueError("The model's bytes do not have the hash that was recorded for them.")
        load(content)
        self.content = content

    def predict(self, df: pd.DataFrame, args: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One ``propensity`` a row, under the rows' own index, by which MindsDB joins."""
        return pd.DataFrame({"propensity": probability(load(self.content), df)}, index=df.index)
