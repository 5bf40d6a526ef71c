"""Drift monitoring: compare current visitors with the training data, and past scores with observed outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import psycopg

from ml import monitoring
from ml.features import Target
from ml.model import Propensity
from ml.monitoring import Drift, Realised
from warehouse.propensity import store

MAX_RECORDED_COLUMNS = 12
"""Columns whose drift is recorded with a decision: those with the largest drift."""

MAX_SCORED_ROWS = 50_000
"""Rows whose scores are compared; more rows would take longer and change the result little."""

DAYS_SINCE_OUTCOME = {"converted_7d": "days_since_last_conversion", "returned_7d": "days_since_last_event"}
"""For each label, the feature that contains the days since the visitor's last event of the kind that the label counts.

The feature shows whether such an event happened after an earlier cut-off, days before the label is final.
"""

MIDNIGHT_TOLERANCE = pd.Timedelta(hours=2)
"""Tolerance when looking up an earlier cut-off: daylight saving time shifts a site's midnight in UTC."""

COMPARED_TRAINING_TIME = pd.Timedelta(weeks=4)
"""Today's visitors are compared with the last four weeks of the training data only.

On a young site, the time since the first visit grows every week, so that older training data would always show drift.
"""


@dataclass(frozen=True)
class Monitored:
    """The monitoring results of one site and target.

    Attributes:
        drift: Drift of each feature and of the scores since training.
        realised: Past scores against final labels, which include late events.
        early: Scores whose horizon ends today, against preliminary outcomes. Late events may be missing, but a change
            of behaviour shows here days before it shows in `realised`.
    """

    drift: Sequence[Drift] = ()
    realised: Sequence[Realised] = ()
    early: Sequence[Realised] = ()

    @property
    def drifted(self) -> bool:
        """Whether the visitors have drifted, or the newest outcomes do not match the scores."""
        contradicted = any(monitoring.outcomes_contradict_scores(found) for found in (self.realised, self.early))
        return contradicted or monitoring.has_drifted(self.drift)

    def as_metrics(self) -> dict[str, Any]:
        """Return the results for `ml.model_versions.metrics`: aggregates only, no personal data."""
        return {
            "drifted": self.drifted,
            "drift": [asdict(one) for one in self.drift[:MAX_RECORDED_COLUMNS]],
            "realised": [one.as_dict() for one in self.realised],
            "early": [one.as_dict() for one in self.early],
        }


def monitor(
    connection: psycopg.Connection, site_id: str, target: Target, champion: Propensity | None, frame: pd.DataFrame
) -> Monitored:
    """Compare today's visitors with the champion's training data, and past scores with observed outcomes.

    Args:
        connection: Connection to the warehouse.
        site_id: The site.
        target: The target.
        champion: The model in use. If None, the result is empty.
        frame: Today's training examples, whose labels are known.
    """
    if champion is None:
        return Monitored()
    learned = frame[frame["as_of"] <= pd.Timestamp(champion.data_until)]
    learned = learned[learned["as_of"] > learned["as_of"].max() - COMPARED_TRAINING_TIME]
    today = store.scoring_frame(connection, site_id)
    found: Sequence[Drift] = ()
    if not learned.empty and not today.empty:
        found = monitoring.drift(learned, today, numeric=champion.numeric, categorical=champion.categorical)
        before, now = (
            champion.predict(rows.head(MAX_SCORED_ROWS)) for rows in (learned.sample(frac=1, random_state=0), today)
        )
        found = [monitoring.score_drift(before, now), *found]
    scores = store.past_scores(connection, site_id, target.name)
    kept = monitoring.realised(scores, frame, label=target.label) if len(scores) else []
    return Monitored(found, kept, _compare_early(connection, site_id, target, today))


def _compare_early(
    connection: psycopg.Connection, site_id: str, target: Target, today: pd.DataFrame
) -> Sequence[Realised]:
    """Compare the scores whose horizon ends at today's cut-off with the outcomes in today's features."""
    since = DAYS_SINCE_OUTCOME.get(target.label)
    if today.empty or since is None or target.goals:
        return []
    now = today["as_of"].iloc[0]
    earlier = now - target.horizon
    scores = store.scores_of(
        connection,
        site_id,
        target.name,
        (earlier - MIDNIGHT_TOLERANCE).to_pydatetime(),
        (earlier + MIDNIGHT_TOLERANCE).to_pydatetime(),
    )
    return preliminary_results(scores, today, now, label=target.label, since=since)


def preliminary_results(
    scores: pd.DataFrame, today: pd.DataFrame, now: pd.Timestamp, *, label: str, since: str
) -> Sequence[Realised]:
    """Compare the scores of one earlier cut-off with preliminary outcomes from today's features.

    A visitor has reached the target if the feature `since` is smaller than the number of days from the earlier cut-off
    to `now`. A scored visitor who is not in `today` has been inactive since, so the outcome is negative.

    Args:
        scores: Scores of one cut-off.
        today: Feature rows of today's cut-off.
        now: Today's cut-off.
        label: Name of the label column.
        since: Name of a column of `today`: days since the event that the label counts.
    """
    if scores.empty:
        return []
    days = (now - scores["as_of"].iloc[0]) / pd.Timedelta(days=1)
    reached = today.loc[today[since] < days, "user_id"]
    outcomes = scores[["site_id", "user_id", "as_of"]].assign(**{label: scores["user_id"].isin(reached)})
    return monitoring.realised(scores, outcomes, label=label)
