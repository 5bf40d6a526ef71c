"""Twelve weeks of a shop whose visitors change half-way: is it noticed, and does retraining mend it?"""

from __future__ import annotations

import bisect
import itertools
from typing import Any

import pandas as pd

from bench.ml_world import TARGET, Say, World, simulation, world
from demo.events import Event
from ml import monitoring
from orchestration.defs.propensity import steps
from warehouse import propensity
from warehouse.database import connect

BEFORE_WEEKS, WEEKS = 14, 12
FIRST = pd.Timestamp("2026-08-03T00:30:00", tz="UTC")
"""A Monday, half past three in the morning at the shop: when the daily run comes."""


def run(visitors: int, say: Say) -> dict[str, Any]:
    """Live through the weeks as the daily run does, once a week, and compare each scoring with what came of it."""
    change = FIRST + pd.Timedelta(weeks=WEEKS // 2)
    end = FIRST + pd.Timedelta(weeks=WEEKS + 2)
    days = 7 * (BEFORE_WEEKS + WEEKS + 2)
    shop = simulation(visitors, days, 11, end=f"{end:%Y-%m-%dT%H:%M:%S}", change=f"{change:%Y-%m-%dT%H:%M:%S}")
    moments = [FIRST + pd.Timedelta(weeks=week) for week in range(WEEKS + 2)]
    known_until = [f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in moments]

    def week_of(event: Event) -> int:
        return bisect.bisect_right(known_until, event["received_at"])

    told: list[dict[str, Any]] = []
    with world(say) as place:
        for week, arrived in itertools.groupby(shop.events(), key=week_of):
            if week >= len(moments):
                break
            place.bring_in("shop", arrived)
            seconds = place.build(fresh=week == 0)
            told.append({"week": week, "build_seconds": round(seconds), **_live(place)})
            say(", ".join(f"{name} {value}" for name, value in told[-1].items() if name != "reason"))
        realised = {one.as_of: one for one in _realised(place)}
    for one in told:
        found = realised.get(one["as_of"])
        one |= {"as_of": one["as_of"].isoformat()}
        if found is not None:
            one |= {"converted": found.converted, "low": found.low, "high": found.high, "kept": found.kept}
    noticed = [one["week"] for one in told if one["drifted"] and one["week"] > WEEKS // 2]
    return {
        "visitors": visitors,
        "changed_in_week": WEEKS // 2,
        "noticed_in_week": min(noticed, default=None),
        "false_alarms": sum(bool(one["drifted"]) for one in told if one["week"] <= WEEKS // 2),
        "weeks": told,
    }


def _live(place: World) -> dict[str, Any]:
    """What the daily run does with the features of now."""
    with connect(place.url) as connection:
        trained = steps.train(connection, "shop", TARGET, min_positives=300, pages=place.folder / "reports")
        scored = steps.score(connection, "shop", TARGET)
        as_of = propensity.scoring_frame(connection, "shop")["as_of"].iloc[0]
    decided = trained.decided
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
        scores = propensity.past_scores(connection, "shop", TARGET.name)
    return monitoring.realised(scores, place.examples("shop"), label=TARGET.label)
