"""The model beside the truth of simulated shops, and shops without anything to learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bench.ml_world import TARGET, Say, World, simulation, world
from demo.simulation import Simulation
from ml import evaluation, gate
from ml.errors import TrainingError
from ml.model import Propensity
from orchestration.defs.propensity import steps

END = "2026-11-16T12:00:00"
SIZES = (100_000, 400_000)


def run(seeds: Iterable[int], visitors: int, days: int, say: Say) -> dict[str, Any]:
    """Judge models on each seed's newest cut-off, which none has seen, against the true probabilities."""
    shops = [_shop(seed, visitors, days, say) for seed in seeds]
    return {"visitors": visitors, "days": days, "shops": shops}


def run_null(seeds: Iterable[int], visitors: int, days: int, say: Say) -> dict[str, Any]:
    """Count the shops without signal in which a model would be promoted. They share a warehouse, as sites do."""
    sites = {seed: f"shop-{seed}" for seed in seeds}
    shops: list[dict[str, Any]] = []
    with world(say) as place:
        for seed, site_id in sites.items():
            stored = place.bring_in(site_id, simulation(visitors, days, seed, end=END, signal=False).events())
            say(f"seed {seed}: {stored:,} events")
        say(f"features built in {place.build(fresh=True):.0f} s")
        for seed, site_id in sites.items():
            frame = place.examples(site_id)
            shops.append({"seed": seed, **without_signal(frame)})
            say(", ".join(f"{name} {value}" for name, value in shops[-1].items()))
    return {"visitors": visitors, "shops": shops, "promoted": sum(one["promoted"] for one in shops)}


def without_signal(frame: pd.DataFrame) -> dict[str, Any]:
    """Whether a model of a training table would be promoted."""
    counts = {"examples": len(frame), "positives": int(frame[TARGET.label].sum())}
    grounds = gate.check(frame, label=TARGET.label, time="as_of", visitor="user_id", weeks=TARGET.weeks)
    if not grounds.met:
        return counts | {"promoted": False, "reason": grounds.message}
    try:
        model = steps.fit(frame, TARGET, grounds.learners)
    except TrainingError as error:
        return counts | {"promoted": False, "reason": str(error)}
    decision = gate.decide(model, None, frame)
    return counts | {"promoted": decision.action == "promote", "reason": decision.reason}


def _shop(seed: int, visitors: int, days: int, say: Say) -> dict[str, Any]:
    shop = simulation(visitors, days, seed, end=END)
    with world(say) as place:
        frame = _features(place, shop, seed)
    frame = with_truth(frame, shop)
    say(f"seed {seed}: {len(frame):,} examples, {int(frame[TARGET.label].sum()):,} positive")
    models = learned(frame, seed)
    for one in models:
        say(
            f"seed {seed}: {one['algorithm']} from {one['examples']:,} examples, share of the attainable gain "
            f"{one['share']:.3f}, slope {one['slope']:.3f}, {one['deciles_as_expected']} of 10 deciles, "
            f"lift {one['top_lift']:.2f} of {one['top_lift_best']:.2f}"
        )
    return {"seed": seed, "examples": len(frame), "models": models}


def _features(place: World, shop: Simulation, seed: int) -> pd.DataFrame:
    stored = place.bring_in("shop", shop.events())
    place.say(f"seed {seed}: {stored:,} events")
    place.say(f"seed {seed}: features built in {place.build(fresh=True):.0f} s")
    return place.examples("shop")


def with_truth(frame: pd.DataFrame, shop: Simulation) -> pd.DataFrame:
    """A training table with the column `p_conversion_7d`, the best possible prediction."""
    truth = shop.truth([moment.to_pydatetime() for moment in sorted(frame["as_of"].unique())])
    return frame.merge(truth, on=["user_id", "as_of"], how="left", validate="one_to_one")


def learned(frame: pd.DataFrame, seed: int, sizes: Iterable[int] = SIZES) -> list[dict[str, Any]]:
    """Models of so many examples each (or of all there are), beside the truth on the newest cut-off.

    They learn from the cut-offs before it, as the daily run does, and from visitors drawn at random with all their
    examples, so that a smaller table is that of a smaller shop.
    """
    newest = frame["as_of"] == frame["as_of"].max()
    earlier, judged = frame[~newest], frame[newest]
    y, truth = judged[TARGET.label].to_numpy(dtype="int8"), judged["p_conversion_7d"].to_numpy()
    found: list[dict[str, Any]] = []
    for size in sizes:
        examples = _of_some_visitors(earlier, size, seed)
        model = steps.fit(examples, TARGET, ("regression", "boosting"))
        figures = compared(y, model.predict(judged), truth, float(earlier[TARGET.label].mean()))
        found.append({"examples": len(examples), "algorithm": model.kind, **figures, "newcomers": _newcomers(model)})
    return found


def _of_some_visitors(frame: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """All examples of visitors drawn at random, together at most so many."""
    together = frame.groupby("user_id").size().sample(frac=1, random_state=seed).cumsum()
    return frame[frame["user_id"].isin(together.index[together <= rows])]


def _newcomers(model: Propensity) -> dict[str, float] | None:
    """How the trial went for visitors whom the training had not seen."""
    unseen = model.trial.unseen if model.trial else None
    if unseen is None:
        return None
    return {"examples": unseen.n, "roc_auc": unseen.roc_auc, "expected": unseen.mean_score, "came": unseen.base_rate}


def compared(y: np.ndarray, p: np.ndarray, truth: np.ndarray, base_rate: float) -> dict[str, Any]:
    """Figures of a model beside those of the truth on the same rows, all of shape (n,).

    `share` compares expected losses under the truth, in which the chance of what happened to happen is gone; the
    calibration and the deciles are those of what happened. The truth itself has fewer than nine of ten deciles within
    their 95 % intervals about once in twelve times, by chance. Hence `deciles_of_truth`; `deciles_attainable`, the
    tenths by the model's score in which what came lies within 95 % of what the truth says of the same rows; and
    `mean_error_by_decile`, the error of the mean score of each tenth against its mean true probability, as a share.
    """
    tenths = np.array_split(np.argsort(-p, kind="stable"), 10)

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
        "deciles_attainable": sum(
            bool(abs((y - truth)[rows].sum()) <= 1.96 * np.sqrt((truth * (1 - truth))[rows].sum())) for rows in tenths
        ),
        "mean_error_by_decile": [float(p[rows].mean() / truth[rows].mean() - 1) for rows in tenths],
        "top_lift": model.deciles[0].lift,
        "top_lift_best": best.deciles[0].lift,
    }
