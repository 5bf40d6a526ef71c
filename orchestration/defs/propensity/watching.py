"""Whether a site still behaves as its champion learned, and whether past scores kept their promise."""

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
from warehouse import propensity

SHOWN = 12
SCORED = 50_000
SINCE = {"converted_7d": "days_since_last_conversion", "returned_7d": "days_since_last_event"}
"""Features of today that tell whether a label came true since a former cut-off, before that label is final."""

NIGHT = pd.Timedelta(hours=2)
"""Two midnights of a site lie whole days apart but for its summer time."""

NEWEST = pd.Timedelta(weeks=4)


@dataclass(frozen=True)
class Watched:
    """What was seen; `drifted` is the alarm that all together give.

    `early` is what came of the scores whose time is over today, while events may still be late: a change of behaviour
    shows there days before it does in `realised`, which waits for them.
    """

    drift: Sequence[Drift] = ()
    realised: Sequence[Realised] = ()
    early: Sequence[Realised] = ()

    @property
    def drifted(self) -> bool:
        """Whether visitors changed, or newest outcomes broke the promise of the scores."""
        broken = monitoring.promise_broken(self.realised) or monitoring.promise_broken(self.early)
        return broken or monitoring.has_drifted(self.drift)

    def as_metrics(self) -> dict[str, Any]:
        """For `ml.model_versions`: figures, no persons."""
        return {
            "drifted": self.drifted,
            "drift": [asdict(one) for one in self.drift[:SHOWN]],
            "realised": [one.as_dict() for one in self.realised],
            "early": [one.as_dict() for one in self.early],
        }


def watch(
    connection: psycopg.Connection, site_id: str, target: Target, champion: Propensity | None, frame: pd.DataFrame
) -> Watched:
    """Compare today's visitors with those whom the champion learned from, and past scores with what happened.

    Args:
        connection: To the warehouse.
        site_id: The site.
        target: The target.
        champion: The model in use; without one nothing can have drifted from it.
        frame: The training table of today, whose labels are known.
    """
    if champion is None:
        return Watched()
    learned = frame[frame["as_of"] <= pd.Timestamp(champion.data_until)]
    # The newest of what was learned: on a young site the time since a first visit grows from week to week by itself.
    learned = learned[learned["as_of"] > learned["as_of"].max() - NEWEST]
    today = propensity.scoring_frame(connection, site_id)
    found: Sequence[Drift] = ()
    if not learned.empty and not today.empty:
        found = monitoring.drift(learned, today, numeric=champion.numeric, categorical=champion.categorical)
        then, now = (champion.predict(rows.head(SCORED)) for rows in (learned.sample(frac=1, random_state=0), today))
        found = [monitoring.score_drift(then, now), *found]
    scores = propensity.past_scores(connection, site_id, target.name)
    kept = monitoring.realised(scores, frame, label=target.label) if len(scores) else []
    return Watched(found, kept, _early(connection, site_id, target, today))


def _early(connection: psycopg.Connection, site_id: str, target: Target, today: pd.DataFrame) -> Sequence[Realised]:
    """What came of the scores of a horizon ago, by today's features."""
    since = SINCE.get(target.label)
    if today.empty or since is None or target.goals:
        return []
    now = today["as_of"].iloc[0]
    then = now - target.horizon
    scores = propensity.scores_of(
        connection, site_id, target.name, (then - NIGHT).to_pydatetime(), (then + NIGHT).to_pydatetime()
    )
    return came_of(scores, today, now, label=target.label, since=since)


def came_of(
    scores: pd.DataFrame, today: pd.DataFrame, now: pd.Timestamp, *, label: str, since: str
) -> Sequence[Realised]:
    """The promise of `scores` of one former cut-off against the feature `since`, in days, of the rows of `today`.

    Whoever was scored and is no longer among today's visitors has done nothing since.
    """
    if scores.empty:
        return []
    days = (now - scores["as_of"].iloc[0]) / pd.Timedelta(days=1)
    reached = today.loc[today[since] < days, "user_id"]
    outcomes = scores[["site_id", "user_id", "as_of"]].assign(**{label: scores["user_id"].isin(reached)})
    return monitoring.realised(scores, outcomes, label=label)


def write_page(folder: Path, site_id: str, target: Target, page: report.Page) -> Path:
    """Keep the newest report of a site and target as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{site_id}-{target.name}.html"
    path.write_text(page.html, encoding="utf-8")
    return path
