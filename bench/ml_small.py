"""A small site at several ages: first too few examples for a model, later a regression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bench.ml_truth import END
from bench.ml_world import DOMAIN, TARGET, ZONE, Say, World, moment, world
from demo.simulation.behaviour import USUAL
from demo.simulation.simulation import Simulation
from ml import evaluation
from orchestration.defs.propensity import steps
from orchestration.lib.stored_models import load_champion
from warehouse.kit.database import connect
from warehouse.propensity import store

NEW_A_DAY = 60
AGES = (5, 12, 26, 36)
QUIET = replace(
    USUAL,
    rho=tuple(0.7 * rate for rate in USUAL.rho),
    b=(*USUAL.b[:4], USUAL.b[4] - 1.4, USUAL.b[5] - 1.4),
)
"""Parameters under which `NEW_A_DAY` new visitors per day result in about 200 visitors per day, with returning ones.

About 2 % of the visitors of a day convert."""


def run(say: Say) -> dict[str, Any]:
    """Run the daily run for one site per age in `AGES` (weeks), all in one warehouse, and return the decisions."""
    shops = {
        f"weeks-{weeks}": Simulation(
            NEW_A_DAY * 7 * weeks, 7 * weeks, weeks, timezone=ZONE, domain=DOMAIN, end=moment(END), usual=QUIET
        )
        for weeks in AGES
    }
    with world(say) as place:
        for site_id, shop in shops.items():
            say(f"{site_id}: {place.bring_in(site_id, shop.events()):,} events")
        say(f"features built in {place.build(fresh=True):.0f} s")
        return {"sites": [_daily_run(place, site_id, shop, say) for site_id, shop in shops.items()]}


def _daily_run(place: World, site_id: str, shop: Simulation, say: Say) -> dict[str, Any]:
    with connect(place.url) as connection:
        traffic = connection.execute(
            "select avg(visitors), sum(converted_visitors)::float / sum(visitors) from"
            " (select count(distinct user_id) as visitors, count(distinct user_id) filter (where conversion_count > 0)"
            " as converted_visitors from marts.sessions where site_id = %s"
            " group by session_date having count(*) > 20) as days",
            [site_id],
        ).fetchone() or (0, 0)
        trained = steps.train(connection, site_id, TARGET, min_positives=300, pages=place.folder / "reports")
        scored = steps.score(connection, site_id, TARGET)
        found: dict[str, Any] = {
            "site": site_id,
            "visitors_a_day": round(float(traffic[0]), 1),
            "converting": round(float(traffic[1]), 4),
            "decision": trained.summary.decision,
            "algorithm": trained.summary.algorithm,
            "scores": scored.visitors if scored else 0,
            "reason": trained.summary.reason,
        }
        if scored:
            model = load_champion(connection, site_id, TARGET.name)
            assert model is not None
            today = store.scoring_frame(connection, site_id)
            truth = shop.truth([scored.as_of])
            both = today.merge(truth, on=["user_id", "as_of"], how="left", validate="one_to_one")
            best = both["p_conversion_7d"].to_numpy()
            found |= {
                "expected": scored.expected,
                "expected_best": round(float(best.sum()), 1),
                "slope_against_truth": _slope(best, model.predict(today)),
            }
    say(", ".join(f"{name} {value}" for name, value in found.items()))
    return found


def _slope(truth: np.ndarray, p: np.ndarray) -> float:
    """Return the expected calibration slope of predictions `p`, from outcomes drawn from the true probabilities."""
    copies = 200
    y = np.random.default_rng(0).random((copies, len(p))) < truth
    return evaluation.calibration(y.ravel(), np.tile(p, copies))[0]
