"""The steps for one site and target: count examples, train and decide, score.

`ml` computes; `warehouse.propensity.store` reads from and writes to Postgres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pandas as pd
import psycopg

from ml import artifacts, gate, report, scoring, training
from ml.errors import ArtifactError, TrainingError
from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES, Target
from ml.model import Propensity
from orchestration.defs.propensity.monitoring import Monitored, monitor
from orchestration.lib.stored_models import load_champion
from warehouse.propensity import quality, store
from warehouse.propensity.store import Decision, GoalLabel
from warehouse.propensity.versions import was_rolled_back

DECISIONS: dict[str, Decision] = {"promote": "promoted", "keep": "kept", "none": "refused"}
BOOSTING_PER_REGRESSION = 10 / 3
"""How many times more examples boosting requires than regression: 1,000 against 300."""


@dataclass(frozen=True)
class TrainingSummary:
    """The decision about one training run, and its figures.

    The metrics are those of the newest period, which was held out. The metrics that begin with `unseen` cover only
    visitors who are not in the training data.
    """

    site_id: str
    target: str
    decision: Decision
    reason: str
    version: str | None = None
    algorithm: str | None = None
    examples: int | None = None
    roc_auc: float | None = None
    brier: float | None = None
    base_rate: float | None = None
    unseen_visitors: int | None = None
    unseen_roc_auc: float | None = None
    drifted: bool | None = None
    page: str | None = None


@dataclass(frozen=True)
class TrainingRun:
    """One training run: its summary, and its report for the Dagster UI in Markdown."""

    summary: TrainingSummary
    markdown: str


@dataclass(frozen=True)
class ScoringRun:
    """The scoring of one site and target at one cut-off.

    Attributes:
        site_id: The site.
        target: The target.
        model_version: The champion that scored.
        as_of: The cut-off.
        visitors: Number of scores written.
        expected: Sum of the scores: the expected number of positives.
    """

    site_id: str
    target: str
    model_version: str
    as_of: datetime
    visitors: int
    expected: float


def count_examples(connection: psycopg.Connection, target: Target) -> list[quality.ExampleCount]:
    """Count the examples and positives of a target by site and cut-off."""
    return quality.count_examples(connection, target.name, target.label, goal_label(target))


def goal_label(target: Target) -> GoalLabel | None:
    """Return the definition of the label if it is computed from goals, or None if it is a column of the features."""
    return GoalLabel(target.goals, target.horizon, target.settle) if target.goals else None


def fit(frame: pd.DataFrame, target: Target, learners: Sequence[str]) -> Propensity:
    """Train a model for a target on rows of `marts.visitor_features`.

    Raises:
        TrainingError: No model can be trained on these rows.
    """
    return training.fit(
        frame,
        numeric=NUMERIC_NAMES,
        categorical=CATEGORICAL_NAMES,
        label=target.label,
        time="as_of",
        visitor="user_id",
        horizon=target.horizon,
        learners=learners,
        target=target.name,
    )


def train(
    connection: psycopg.Connection, site_id: str, target: Target, *, min_positives: int, pages: Path
) -> TrainingRun:
    """Train a model, decide whether to promote it, record the decision, and write the report.

    With too few examples, no model is trained; the decision and its reason are still recorded.

    Args:
        connection: Connection to the warehouse.
        site_id: The site.
        target: The target.
        min_positives: Minimum number of examples of the rarer outcome for training a regression.
        pages: Folder for the HTML report.
    """
    frame = store.training_frame(connection, site_id, target.label, target.weeks, goal_label=goal_label(target))
    champion = _usable_champion(connection, site_id, target)
    monitored = monitor(connection, site_id, target, champion, frame)
    grounds = gate.check(
        frame,
        label=target.label,
        time="as_of",
        visitor="user_id",
        words=target.words,
        regression=min_positives,
        boosting=round(min_positives * BOOSTING_PER_REGRESSION),
        weeks=target.weeks,
    )
    if not grounds.met:
        return _record_no_model(connection, site_id, target, grounds.message, champion=champion, monitored=monitored)
    try:
        model = fit(frame, target, grounds.learners)
    except TrainingError as error:
        return _record_no_model(connection, site_id, target, str(error), champion=champion, monitored=monitored)
    decision = gate.decide(model, champion, frame, horizon=target.horizon, drift=monitored.drifted)
    if decision.action == "promote" and was_rolled_back(connection, site_id, target.name, model.version):
        decision = gate.Decision(
            "keep", "This model version was rolled back. A model trained on newer weeks can be promoted."
        )
    page = report.page(model, frame, label=target.label, drift=monitored.drift, realised=monitored.realised)
    path = _write_page(pages, site_id, target, page)
    reason = f"{grounds.message} {decision.reason}"
    summary = _record_model(
        connection, site_id, model, decision=DECISIONS[decision.action], reason=reason, monitored=monitored
    )
    return TrainingRun(replace(summary, page=path.as_uri()), f"{page.markdown}\n\n[Charts]({path.as_uri()})")


def _usable_champion(connection: psycopg.Connection, site_id: str, target: Target) -> Propensity | None:
    """Return the champion, or None if there is none or the installed library versions cannot load it."""
    try:
        return load_champion(connection, site_id, target.name)
    except ArtifactError:
        return None


def _record_no_model(
    connection: psycopg.Connection,
    site_id: str,
    target: Target,
    reason: str,
    *,
    champion: Propensity | None,
    monitored: Monitored,
) -> TrainingRun:
    decision: Decision = "refused" if champion is None else "kept"
    store.record_version(
        connection,
        site_id=site_id,
        target=target.name,
        version="none",
        decision=decision,
        reason=reason,
        metrics=monitored.as_metrics(),
    )
    return TrainingRun(TrainingSummary(site_id, target.name, decision, reason, drifted=monitored.drifted), reason)


def _record_model(
    connection: psycopg.Connection,
    site_id: str,
    model: Propensity,
    *,
    decision: Decision,
    reason: str,
    monitored: Monitored,
) -> TrainingSummary:
    if model.trial is None:
        raise ValueError("A newly trained model must have holdout results.")
    judged = model.trial.rows["time"]
    artifact = artifacts.dumps(model)
    store.record_version(
        connection,
        site_id=site_id,
        target=model.target,
        version=model.version,
        decision=decision,
        reason=reason,
        algorithm=model.kind,
        artifact=artifact.content,
        artifact_sha256=artifact.sha256,
        features=[*model.numeric, *model.categorical],
        metrics=model.metrics
        | monitored.as_metrics()
        | {"judged_from": judged.min().isoformat(), "judged_until": judged.max().isoformat()}
        | {"rows": model.rows, "positives": model.positives},
        libraries=artifact.libraries,
        trained_from=model.data_from,
        trained_to=model.data_until,
    )
    chosen, unseen = model.trial.chosen, model.trial.unseen
    return TrainingSummary(
        site_id, model.target, decision, reason, model.version, model.kind,
        chosen.n, chosen.roc_auc, chosen.brier, chosen.base_rate,
        unseen.n if unseen else 0, unseen.roc_auc if unseen else None, monitored.drifted,
    )  # fmt: skip


def score(connection: psycopg.Connection, site_id: str, target: Target) -> ScoringRun | None:
    """Score the visitors of the newest cut-off with the champion, and write the scores.

    Returns:
        The scoring, or None if there is no champion.

    Raises:
        ArtifactError: The stored champion cannot be loaded: its content was altered, or it was made with another
            version of scikit-learn.
    """
    model = load_champion(connection, site_id, target.name)
    if model is None:
        return None
    frame = store.scoring_frame(connection, site_id)
    scores = scoring.score(model, frame).assign(target=target.name)
    written = store.write_scores(connection, scores)
    as_of: datetime = frame["as_of"].iloc[0].to_pydatetime()
    return ScoringRun(site_id, target.name, model.version, as_of, written, round(float(scores["score"].sum()), 1))


def _write_page(folder: Path, site_id: str, target: Target, page: report.Page) -> Path:
    """Write the report of a site and target to `folder`, replacing the previous one; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{site_id}-{target.name}.html"
    path.write_text(page.html, encoding="utf-8")
    return path
