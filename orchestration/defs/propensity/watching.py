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
NEWEST = pd.Timedelta(weeks=4)


@dataclass(frozen=True)
class Watched:
    """What was seen; `drifted` is the alarm that both together give."""

    drift: Sequence[Drift] = ()
    realised: Sequence[Realised] = ()

    @property
    def drifted(self) -> bool:
        """Whether visitors changed, or newest outcomes broke the promise of the scores."""
        return monitoring.has_drifted(self.drift) or monitoring.promise_broken(self.realised)

    def as_metrics(self) -> dict[str, Any]:
        """For `ml.model_versions`: figures, no persons."""
        return {
            "drifted": self.drifted,
            "drift": [asdict(one) for one in self.drift[:SHOWN]],
            "realised": [one.as_dict() for one in self.realised],
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
    return Watched(found, kept)


def write_page(folder: Path, site_id: str, target: Target, page: report.Page) -> Path:
    """Keep the newest report of a site and target as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{site_id}-{target.name}.html"
    path.write_text(page.html, encoding="utf-8")
    return path
