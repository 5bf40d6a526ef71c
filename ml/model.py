"""The fitted model and the record of its trial."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from ml import serving
from ml.evaluation import Report


@dataclass(frozen=True)
class Trial:
    """The model's performance on the newest period, which neither it nor its rivals had seen.

    ``rows`` has the columns y, score, base_rate, time and visitor, one row for each row of that period under
    its position in the table; it lives in memory only and is never stored. ``unseen`` judges the visitors who do
    not occur in training.
    """

    rows: pd.DataFrame
    chosen: Report
    rivals: dict[str, Report]
    unseen: Report | None

    def summary(self) -> dict[str, Any]:
        """Plain data for JSON, without a row of any person."""
        return {
            "chosen": self.chosen.as_dict(),
            "rivals": {name: report.as_dict() for name, report in self.rivals.items()},
            "unseen_visitors": self.unseen.as_dict() if self.unseen else None,
        }


@dataclass(frozen=True)
class Propensity:
    """A calibrated model of one yes-or-no question.

    Attributes:
        bundle: Pipelines and weights, as ``ml.serving`` describes them.
        kind: Which rival was chosen: blend, boosting, regression or base rate.
        version: Target, last day of data and the start of the bundle's hash; the same data give the same.
        data_from: First cut-off learned from.
        data_until: Last cut-off learned from; newer ones are unseen.
        metrics: The trial's figures as plain data.
        trial: Present after ``fit``, absent after loading.
    """

    bundle: dict[str, Any]
    kind: str
    version: str
    target: str
    data_from: datetime
    data_until: datetime
    rows: int
    positives: int
    seed: int
    metrics: dict[str, Any]
    trial: Trial | None = field(default=None, compare=False, repr=False)

    @property
    def numeric(self) -> list[str]:
        """Numeric columns the model needs, in order."""
        return self.bundle["numeric"]

    @property
    def categorical(self) -> list[str]:
        """Text columns the model needs, in order."""
        return self.bundle["categorical"]

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Calibrated probabilities, shape (n,).

        Raises:
            ValueError: A feature column is missing or is of the wrong kind.
        """
        return serving.probability(self.bundle, frame)
