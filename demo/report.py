"""The report of a demo run, as tables: events, models, and the model compared with the best possible prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psycopg
from sklearn import metrics

from warehouse.kit.database import connect
from warehouse.kit.queries import read_query
from warehouse.propensity import store
from warehouse.propensity.scores import Wanted, page_of_scores

SQL_DIR = Path(__file__).parent / "sql"
TARGET = "conversion_7d"
_FIGURES = ("n", "roc_auc", "brier", "log_loss", "base_rate")


@dataclass(frozen=True)
class Table:
    """A table of the report. A table without rows consists of its title only."""

    title: str
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()


def tables(url: str, shop: str, truth_file: Path) -> list[Table]:
    """Return the report of a demo run.

    Args:
        url: Database URL with the owner's login.
        shop: ID of the simulated shop.
        truth_file: The true probabilities of the simulation; without this file, the model is not compared with them.
    """
    with connect(url) as connection:
        return [
            _query(connection, "Events by source", "events_by_source", []),
            _query(connection, "Sites, without bots", "sites", []),
            _query(connection, f"Funnel of {shop}", "funnel", [shop]),
            _query(connection, f"Last days of {shop}", "last_days", [shop]),
            model_quality(connection, shop, truth_file),
            most_likely(connection, shop),
        ]


def _query(connection: psycopg.Connection, title: str, query: str, parameters: list[str]) -> Table:
    cursor = connection.execute(read_query(SQL_DIR, query), parameters)
    headings = [column.name.replace("_", " ") for column in cursor.description or []]
    return Table(title, headings, cursor.fetchall())


def most_likely(connection: psycopg.Connection, site_id: str) -> Table:
    """Return the ten visitors with the highest scores."""
    best = page_of_scores(connection, Wanted(site_id, TARGET), limit=10).scores
    rows = [(one.user_id, one.score, one.band, "; ".join(one.reasons)) for one in best]
    return Table(f"Most likely to convert within 7 days, {site_id}", ["user id", "score", "band", "reasons"], rows)


def model_quality(connection: psycopg.Connection, site_id: str, truth_file: Path) -> Table:
    """Return the metrics of the model in use on its holdout period, and those of the true probabilities."""
    model = store.champion(connection, site_id, TARGET)
    if model is None:
        newest = store.newest_version(connection, site_id, TARGET)
        return Table(f"No scores for {site_id}: {newest.reason if newest else 'no model was trained'}")
    chosen = model.metrics["chosen"]
    rows: list[tuple[object, ...]] = [("model", model.algorithm, *(chosen[name] for name in _FIGURES))]
    holdout = _holdout(connection, site_id, model, truth_file)
    if not holdout.empty:
        rows.append(("best possible", "the truth", *_measure(holdout["label"], holdout["p_conversion_7d"])))
    headings = ["", "algorithm", "examples", "ROC-AUC", "Brier", "log-loss", "base rate"]
    return Table(f"Model {model.version} on its holdout period", headings, rows)


def _holdout(connection: psycopg.Connection, site_id: str, model: store.ModelVersion, truth_file: Path) -> pd.DataFrame:
    """Return the labels of the model's holdout period with the true probabilities; no rows without a truth file."""
    if not truth_file.exists():
        return pd.DataFrame()
    period = [site_id, model.metrics["judged_from"], model.metrics["judged_until"]]
    labels = pd.DataFrame(
        connection.execute(read_query(SQL_DIR, "holdout_labels"), period).fetchall(),
        columns=["user_id", "as_of", "label"],
    )
    truth = pd.read_csv(truth_file, parse_dates=["as_of"])
    labels["as_of"] = pd.to_datetime(labels["as_of"], utc=True)
    return labels.merge(truth[truth["site_id"] == site_id], on=["user_id", "as_of"], how="inner")


def _measure(labels: pd.Series, scores: pd.Series) -> tuple[float, ...]:
    """Return the `_FIGURES` of probabilities; the ROC-AUC is NaN if all labels are equal."""
    return (
        len(labels),
        float(metrics.roc_auc_score(labels, scores)) if labels.nunique() == 2 else float("nan"),
        float(metrics.brier_score_loss(labels, scores)),
        float(metrics.log_loss(labels, scores, labels=[False, True])),
        float(labels.mean()),
    )
