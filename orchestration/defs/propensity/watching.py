"""Drift monitoring: compare current visitors with the training data, and past scores with observed outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg

from ml import monitoring, report
from ml.features import Target
from ml.model import Propensity
from ml.monitoring import Drift, Realised
from warehouse.propensity import store

SHOWN = 12
SCORED = 50_000
SINCE = {"converted_7d": "days_since_last_conversion", "returned_7d": "days_since_last_event"}
"""For each label, the feature (in days) that shows whether the event happened since an earlier cut-off.

The feature is known days before the label is final.
"""

NIGHT = pd.Timedelta(hours=2)
"""Tolerance when looking up an earlier cut-off: daylight saving time shifts a site's midnight in UTC."""

NEWEST = pd.Timedelta(weeks=4)


@dataclass(frozen=True)
class Watched:
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
        broken = monitoring.promise_broken(self.realised) or monitoring.promise_broken(self.early)
        return broken or monitoring.has_drifted(self.drift)

    def as_metrics(self) -> dict[str, Any]:
        """Return the results for `ml.model_versions.metrics`: aggregates only, no personal data."""
        return {
            "drifted": self.drifted,
            "drift": [asdict(one) for one in self.drift[:SHOWN]],
            "realised": [one.as_dict() for one in self.realised],
            "early": [one.as_dict() for one in self.early],
        }


def watch(
    connection: psycopg.Connection, site_id: str, target: Target, champion: Propensity | None, frame: pd.DataFrame
) -> Watched:
    """Compare today's visitors with the champion's training data, and past scores with observed outcomes.

    Args:
        connection: Connection to the warehouse.
        site_id: The site.
        target: The target.
        champion: The model in use. If None, the result is empty.
        frame: Today's training examples, whose labels are known.
    """
    if champion is None:
        return Watched()
    learned = frame[frame["as_of"] <= pd.Timestamp(champion.data_until)]
    # Use only the newest weeks of the training data: on a young site, the time since the first visit grows every week
    # without any change of behaviour.
    learned = learned[learned["as_of"] > learned["as_of"].max() - NEWEST]
    today = store.scoring_frame(connection, site_id)
    found: Sequence[Drift] = ()
    if not learned.empty and not today.empty:
        found = monitoring.drift(learned, today, numeric=champion.numeric, categorical=champion.categorical)
        before, now = (champion.predict(rows.head(SCORED)) for rows in (learned.sample(frac=1, random_state=0), today))
        found = [monitoring.score_drift(before, now), *found]
    scores = store.past_scores(connection, site_id, target.name)
    kept = monitoring.realised(scores, frame, label=target.label) if len(scores) else []
    return Watched(found, kept, _early(connection, site_id, target, today))


def _early(connection: psycopg.Connection, site_id: str, target: Target, today: pd.DataFrame) -> Sequence[Realised]:
    """Compare the scores whose horizon ends at today's cut-off with the outcomes in today's features."""
    since = SINCE.get(target.label)
    if today.empty or since is None or target.goals:
        return []
    now = today["as_of"].iloc[0]
    earlier = now - target.horizon
    scores = store.scores_of(
        connection, site_id, target.name, (earlier - NIGHT).to_pydatetime(), (earlier + NIGHT).to_pydatetime()
    )
    return came_of(scores, today, now, label=target.label, since=since)


def came_of(
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


def write_page(folder: Path, site_id: str, target: Target, page: report.Page) -> Path:
    """Write the report of a site and target to `folder`, replacing the previous one; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{site_id}-{target.name}.html"
    path.write_text(page.html, encoding="utf-8")
    return path
