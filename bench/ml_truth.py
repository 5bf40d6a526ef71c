"""The model beside the truth of simulated shops, and shops without anything to learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bench.ml_world import TARGET, Say, World, simulation, world
from ml import evaluation, gate
from ml.errors import TrainingError
from ml.model import Propensity
from orchestration.defs.propensity import steps

END = "2026-11-16T12:00:00"


def run(seeds: Iterable[int], visitors: int, days: int, say: Say) -> dict[str, Any]:
    """Judge the model on each seed's newest period, which it has not seen, against the true probabilities."""
    shops = [_judged(seed, visitors, days, say) for seed in seeds]
    return {"visitors": visitors, "days": days, "shops": shops}


def run_null(seeds: Iterable[int], visitors: int, days: int, say: Say) -> dict[str, Any]:
    """Count the shops without signal in which a model would be promoted."""
    shops: list[dict[str, Any]] = []
    for seed in seeds:
        with world(say) as place:
            place.bring_in("shop", simulation(visitors, days, seed, end=END, signal=False).events())
            place.build(fresh=True)
            frame = place.examples("shop")
        model = _fit(frame)
        promoted = not isinstance(model, str) and gate.decide(model, None, frame).action == "promote"
        shops.append({"seed": seed, "examples": len(frame), "promoted": promoted})
        say(f"seed {seed}: {'PROMOTED' if promoted else 'refused'} on {len(frame):,} examples")
    return {"visitors": visitors, "shops": shops, "promoted": sum(one["promoted"] for one in shops)}


def _judged(seed: int, visitors: int, days: int, say: Say) -> dict[str, Any]:
    shop = simulation(visitors, days, seed, end=END)
    with world(say) as place:
        frame = _features(place, shop, seed)
    cutoffs = [moment.to_pydatetime() for moment in sorted(frame["as_of"].unique())]
    truth = shop.truth(cutoffs)
    say(f"seed {seed}: {len(frame):,} examples, {int(frame[TARGET.label].sum()):,} positive")
    model = _fit(frame)
    if isinstance(model, str) or model.trial is None:
        return {"seed": seed, "examples": len(frame), "refused": str(model)}
    rows = model.trial.rows
    both = frame.iloc[rows.index][["user_id", "as_of"]].merge(truth, on=["user_id", "as_of"], how="left")
    found = compared(
        rows["y"].to_numpy(), rows["score"].to_numpy(), both["p_conversion_7d"].to_numpy(), rows["base_rate"].iloc[0]
    )
    say(
        f"seed {seed}: {model.kind}, share of the attainable gain {found['share']:.3f}, slope {found['slope']:.3f}, "
        f"{found['deciles_as_expected']} of 10 deciles, lift {found['top_lift']:.2f} of {found['top_lift_best']:.2f}"
    )
    return {"seed": seed, "examples": len(frame), "algorithm": model.kind, **found}


def _features(place: World, shop: Any, seed: int) -> pd.DataFrame:  # noqa: ANN401 - Simulation
    stored = place.bring_in("shop", shop.events())
    place.say(f"seed {seed}: {stored:,} events")
    place.say(f"seed {seed}: features built in {place.build(fresh=True):.0f} s")
    return place.examples("shop")


def _fit(frame: pd.DataFrame) -> Propensity | str:
    grounds = gate.check(frame, label=TARGET.label, time="as_of", visitor="user_id", weeks=TARGET.weeks)
    if not grounds.met:
        return grounds.message
    try:
        return steps.fit(frame, TARGET, grounds.learners)
    except TrainingError as error:
        return str(error)


def compared(y: np.ndarray, p: np.ndarray, truth: np.ndarray, base_rate: float) -> dict[str, Any]:
    """Figures of a model beside those of the truth on the same rows, all of shape (n,).

    `share` compares expected losses under the truth, in which the chance of what happened to happen is gone; the
    calibration and the deciles are those of what happened. `p_deciles` is how often right scores would leave as many
    deciles outside their interval or more.
    """

    def expected_loss(scores: np.ndarray) -> float:
        held = np.clip(scores, 1e-12, 1 - 1e-12)
        return float(-(truth * np.log(held) + (1 - truth) * np.log1p(-held)).mean())

    model, best = evaluation.report(y, p, base_rate=base_rate), evaluation.report(y, truth, base_rate=base_rate)
    constant = expected_loss(np.full(len(truth), float(truth.mean())))
    return {
        "judged": len(y),
        "base_rate": model.base_rate,
        "share": (constant - expected_loss(p)) / (constant - expected_loss(truth)),
        "roc_auc": model.roc_auc,
        "roc_auc_best": best.roc_auc,
        "log_loss": model.log_loss,
        "log_loss_best": best.log_loss,
        "log_loss_base_rate": model.log_loss_base_rate,
        "slope": model.calibration_slope,
        "slope_of_truth": best.calibration_slope,
        "deciles_as_expected": sum(one.as_expected for one in model.deciles),
        "deciles_of_truth": sum(one.as_expected for one in best.deciles),
        "mean_error_by_decile": [
            float(p[rows].mean() / truth[rows].mean() - 1) for rows in np.array_split(np.argsort(-p, kind="stable"), 10)
        ],
        "top_lift": model.deciles[0].lift,
        "top_lift_best": best.deciles[0].lift,
    }
