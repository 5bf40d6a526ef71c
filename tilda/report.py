"""Report of the demo: events, models, and the model's quality compared with the best possible model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import psycopg

from ml import evaluation
from ml.features import load_targets
from tilda import console
from warehouse.kit.database import connect, direct_url
from warehouse.kit.queries import read_query
from warehouse.kit.settings import Settings
from warehouse.propensity import store
from warehouse.propensity.scores import Wanted, page_of_scores

SQL = Path(__file__).parent / "sql"
TARGET = "conversion_7d"


def print_report(settings: Settings, shop: str, truth_file: Path) -> None:
    """Print the report of a demo run. `truth_file` contains the true probabilities of the simulation."""
    with connect(direct_url(settings)) as connection:
        _print(connection, "Events by source", "events_by_source", [])
        _print(connection, "Sites, without bots", "sites", [])
        _print(connection, f"Funnel of {shop}", "funnel", [shop])
        _print(connection, f"Last days of {shop}", "last_days", [shop])
        _print_quality(connection, shop, truth_file)
        best = page_of_scores(connection, Wanted(shop, TARGET), limit=10).scores
        console.print_table(
            f"Most likely to convert within 7 days, {shop}",
            ["user id", "score", "band", "reasons"],
            [(one.user_id, one.score, one.band, "; ".join(one.reasons)) for one in best],
        )


def _print(connection: psycopg.Connection, title: str, query: str, parameters: list[str]) -> None:
    cursor = connection.execute(read_query(SQL, query), parameters)
    headings = [column.name.replace("_", " ") for column in cursor.description or []]
    console.print_table(title, headings, cursor.fetchall())


def _print_quality(connection: psycopg.Connection, site_id: str, truth_file: Path) -> None:
    """Print the metrics of the model in use on its holdout period, and those of the true probabilities."""
    model = store.champion(connection, site_id, TARGET)
    if model is None:
        newest = store.newest_version(connection, site_id, TARGET)
        console.out.print(
            f"\nNo scores for {site_id}: {newest.reason if newest else 'no model was trained'}", markup=False
        )
        return
    chosen = model.metrics["chosen"]
    rows: list[tuple[object, ...]] = [("model", model.algorithm, *(chosen[name] for name in _FIGURES))]
    best = _best_possible(connection, site_id, model, truth_file)
    if best is not None:
        rows.append(("best possible", "the truth", *(best.as_dict()[name] for name in _FIGURES)))
    console.print_table(
        f"Model {model.version} on its holdout period",
        ["", "algorithm", "examples", "ROC-AUC", "Brier", "log-loss", "base rate"],
        rows,
    )


_FIGURES = ("n", "roc_auc", "brier", "log_loss", "base_rate")


def _best_possible(
    connection: psycopg.Connection, site_id: str, model: store.ModelVersion, truth_file: Path
) -> evaluation.Report | None:
    """Evaluate the true probabilities on the holdout examples of the model."""
    if not truth_file.exists():
        return None
    target = load_targets()[TARGET]
    label = target.label
    examples = store.training_frame(connection, site_id, label, target.weeks)
    since = pd.Timestamp(model.metrics["judged_from"])
    until = pd.Timestamp(model.metrics["judged_until"])
    examples = examples[(examples["as_of"] >= since) & (examples["as_of"] <= until)]
    truth = pd.read_csv(truth_file, parse_dates=["as_of"])
    both = examples.merge(truth, on=["site_id", "user_id", "as_of"], how="inner")
    if both.empty:
        return None
    return evaluation.report(
        both[label].to_numpy(dtype="int8"),
        both["p_conversion_7d"].to_numpy(),
        visitor=both["user_id"].to_numpy(),
        base_rate=model.metrics["chosen"]["base_rate"],
    )
