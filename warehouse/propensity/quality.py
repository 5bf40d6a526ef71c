"""Figures for the checks of training data, models and scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from warehouse.kit.queries import read_query
from warehouse.propensity.store import GoalLabel, labelled_rows

SQL_DIR = Path(__file__).parent / "sql"


@dataclass(frozen=True)
class ExampleCount:
    """The number of training examples and positives of one site, target and cut-off."""

    site_id: str
    target: str
    as_of: datetime
    examples: int
    positives: int


@dataclass(frozen=True)
class MeanScore:
    """The mean score of one site, target and cut-off.

    Attributes:
        base_rate: Share of positives in the model's holdout data; None if it was not recorded.
    """

    site_id: str
    target: str
    mean_score: float
    base_rate: float | None


@dataclass(frozen=True)
class RecordedDrift:
    """The newest decision about a model, if it recorded drift.

    Attributes:
        drift: Drift by feature, as recorded in `ml.model_versions.metrics`.
        outcomes: The newest final outcome and the preliminary outcomes of past scores, as recorded there.
    """

    site_id: str
    target: str
    drift: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]


def count_examples(
    connection: psycopg.Connection, target: str, label: str, goal_label: GoalLabel | None
) -> list[ExampleCount]:
    """Count the examples and positives of a target by site and cut-off.

    Args:
        connection: Connection to the warehouse.
        target: Name of the target.
        label: Name of the label.
        goal_label: Definition of the label if it is computed from goals; None for a column of the features.
    """
    query = sql.SQL(read_query(SQL_DIR, "count_examples")).format(
        label=sql.Identifier(label), target=sql.Literal(target), rows=labelled_rows(label, goal_label)
    )
    with connection.cursor(row_factory=class_row(ExampleCount)) as cursor:
        return cursor.execute(query).fetchall()


def compare_scores_with_visitors(connection: psycopg.Connection) -> tuple[int, int]:
    """Compare the scores of the newest cut-offs with the visitors to be scored by the models in use.

    Returns:
        The number of visitors without a score, and the number of scores without a visitor.
    """
    row = connection.execute(read_query(SQL_DIR, "scores_against_visitors")).fetchone()
    return row or (0, 0)


def mean_scores(connection: psycopg.Connection) -> list[MeanScore]:
    """Return the mean score of each site, target and cut-off."""
    with connection.cursor(row_factory=class_row(MeanScore)) as cursor:
        return cursor.execute(read_query(SQL_DIR, "mean_scores")).fetchall()


def newest_drift(connection: psycopg.Connection) -> list[RecordedDrift]:
    """Return the sites and targets whose newest decision recorded drift."""
    with connection.cursor(row_factory=class_row(RecordedDrift)) as cursor:
        return cursor.execute(read_query(SQL_DIR, "newest_drift")).fetchall()
