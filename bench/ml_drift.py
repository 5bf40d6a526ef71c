"""Drift: a shop whose visitors change after six of twelve weeks. Is the drift detected, and does retraining fix it?"""

from __future__ import annotations

import bisect
import itertools
from typing import Any

import pandas as pd

from bench.ml_world import TARGET, Say, World, simulation, world
from demo.simulation.events import Event
from ml import monitoring
from orchestration.defs.propensity import steps
from warehouse.kit.database import connect
from warehouse.propensity import store

BEFORE_WEEKS, WEEKS = 14, 12
FIRST = pd.Timestamp("2026-08-03T00:30:00", tz="UTC")
"""A Monday at 3:30 in the time zone of the shop: the time of the daily run."""


def run(visitors: int, say: Say) -> dict[str, Any]:
    """Simulate the daily run once per week, and compare each scoring with the observed outcomes."""
    change = FIRST + pd.Timedelta(weeks=WEEKS // 2)
    end = FIRST + pd.Timedelta(weeks=WEEKS + 2)
    days = 7 * (BEFORE_WEEKS + WEEKS + 2)
    shop = simulation(visitors, days, 11, end=f"{end:%Y-%m-%dT%H:%M:%S}", change=f"{change:%Y-%m-%dT%H:%M:%S}")
    moments = [FIRST + pd.Timedelta(weeks=week) for week in range(WEEKS + 2)]
    known_until = [f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in moments]

    def week_of(event: Event) -> int:
        return bisect.bisect_right(known_until, event["received_at"])

    weeks: list[dict[str, Any]] = []
    with world(say) as place:
        for week, arrived in itertools.groupby(shop.events(), key=week_of):
            if week >= len(moments):
                break
            place.bring_in("shop", arrived)
            seconds = place.build(fresh=week == 0)
            weeks.append({"week": week, "build_seconds": round(seconds), **_daily_run(place)})
            say(", ".join(f"{name} {value}" for name, value in weeks[-1].items() if name != "reason"))
        realised = {one.as_of: one for one in _realised(place)}
    for one in weeks:
        found = realised.get(one["as_of"])
        one |= {"as_of": one["as_of"].isoformat()}
        if found is not None:
            one |= {"converted": found.converted, "low": found.low, "high": found.high, "kept": found.kept}
    noticed = [one["week"] for one in weeks if one["drifted"] and one["week"] > WEEKS // 2]
    return {
        "visitors": visitors,
        "changed_in_week": WEEKS // 2,
        "noticed_in_week": min(noticed, default=None),
        "false_alarms": sum(bool(one["drifted"]) for one in weeks if one["week"] <= WEEKS // 2),
        "weeks": weeks,
    }


def _daily_run(place: World) -> dict[str, Any]:
    """Train and score with the current features, as the daily run does."""
    with connect(place.url) as connection:
        trained = steps.train(connection, "shop", TARGET, min_positives=300, pages=place.folder / "reports")
        scored = steps.score(connection, "shop", TARGET)
        as_of = store.scoring_frame(connection, "shop")["as_of"].iloc[0]
    decided = trained.summary
    return {
        "as_of": as_of,
        "decision": decided.decision,
        "drifted": decided.drifted,
        "visitors": scored.visitors if scored else 0,
        "expected": scored.expected if scored else None,
        "reason": decided.reason,
    }


def _realised(place: World) -> list[monitoring.Realised]:
    with connect(place.url) as connection:
        scores = store.past_scores(connection, "shop", TARGET.name)
    return monitoring.realised(scores, place.examples("shop"), label=TARGET.label)
