"""Compare models with the true probabilities of simulated shops, and test shops where nothing can be predicted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bench.ml_world import TARGET, Say, World, simulation, world
from demo.simulation.simulation import Simulation
from ml import evaluation, gate
from ml.errors import TrainingError
from ml.model import Propensity
from orchestration.defs.propensity import steps

END = "2026-11-16T12:00:00"
SIZES = (100_000, 400_000)


def run(seeds: Iterable[int], visitors: int, days: int, say: Say) -> dict[str, Any]:
    """Evaluate models on the newest cut-off of each seed, which is held out, against the true probabilities."""
    shops = [_shop(seed, visitors, days, say) for seed in seeds]
    return {"visitors": visitors, "days": days, "shops": shops}


def run_null(seeds: Iterable[int], visitors: int, days: int, say: Say) -> dict[str, Any]:
    """Count the shops without signal for which a model would be promoted. All shops share one warehouse."""
    sites = {seed: f"shop-{seed}" for seed in seeds}
    shops: list[dict[str, Any]] = []
    with world(say) as place:
        for seed, site_id in sites.items():
            stored = place.bring_in(site_id, simulation(visitors, days, seed, end=END, signal=False).events())
            say(f"seed {seed}: {stored:,} events")
        say(f"features built in {place.build(fresh=True):.0f} s")
        for seed, site_id in sites.items():
            frame = place.examples(site_id)
            shops.append({"seed": seed, **decide_without_signal(frame)})
            say(", ".join(f"{name} {value}" for name, value in shops[-1].items()))
    return {"visitors": visitors, "shops": shops, "promoted": sum(one["promoted"] for one in shops)}


def decide_without_signal(frame: pd.DataFrame) -> dict[str, Any]:
    """Train on a training table of a shop without signal, and return whether the model would be promoted, and why."""
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
    models = compare_models_with_truth(frame, seed)
    for one in models:
        say(
            f"seed {seed}: {one['algorithm']} from {one['examples']:,} examples, share of the possible gain "
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
    """Add the column `p_conversion_7d`, the best possible prediction, to a training table."""
    truth = shop.truth([moment.to_pydatetime() for moment in sorted(frame["as_of"].unique())])
    return frame.merge(truth, on=["user_id", "as_of"], how="left", validate="one_to_one")


def compare_models_with_truth(frame: pd.DataFrame, seed: int, sizes: Iterable[int] = SIZES) -> list[dict[str, Any]]:
    """Train one model for each number of examples in `sizes`, and compare each with the truth on the newest cut-off.

    The training data is a random sample of visitors with all their examples from earlier cut-offs, so that a smaller
    sample resembles a smaller shop. If there are fewer examples than asked for, all are used.
    """
    newest = frame["as_of"] == frame["as_of"].max()
    earlier, judged = frame[~newest], frame[newest]
    y, truth = judged[TARGET.label].to_numpy(dtype="int8"), judged["p_conversion_7d"].to_numpy()
    found: list[dict[str, Any]] = []
    for size in sizes:
        examples = _sample_visitors(earlier, size, seed)
        model = steps.fit(examples, TARGET, ("regression", "boosting"))
        figures = compare_predictions(y, model.predict(judged), truth, float(earlier[TARGET.label].mean()))
        found.append({"examples": len(examples), "algorithm": model.kind, **figures, "newcomers": _newcomers(model)})
    return found


def _sample_visitors(frame: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """Return all examples of randomly chosen visitors, at most `rows` in total."""
    together = frame.groupby("user_id").size().sample(frac=1, random_state=seed).cumsum()
    return frame[frame["user_id"].isin(together.index[together <= rows])]


def _newcomers(model: Propensity) -> dict[str, float] | None:
    """Return the holdout metrics for visitors who are not in the training data."""
    unseen = model.trial.unseen if model.trial else None
    if unseen is None:
        return None
    return {"examples": unseen.n, "roc_auc": unseen.roc_auc, "expected": unseen.mean_score, "came": unseen.base_rate}


def compare_predictions(y: np.ndarray, p: np.ndarray, truth: np.ndarray, base_rate: float) -> dict[str, Any]:
    """Compare the metrics of a model with those of the true probabilities on the same rows.

    `share` is the model's part of the log-loss reduction that the truth achieves over a constant prediction. It uses
    expected losses under the true probabilities, so the random outcomes do not affect it. Calibration and deciles use
    the observed outcomes. By chance, even the truth has fewer than nine of ten deciles within their 95 % intervals in
    about one of twelve samples. Therefore the result also contains:

    * `deciles_of_truth`: the number of deciles within their intervals when the truth is the prediction.
    * `deciles_attainable`: the number of deciles by the model's score whose observed outcomes are within the 95 %
      interval of the true probabilities of the same rows.
    * `mean_error_by_decile`: the relative error of the mean score of each decile against the mean true probability.

    Args:
        y: Observed outcomes, 0 or 1: shape (n,).
        p: Predictions of the model: shape (n,).
        truth: True probabilities: shape (n,).
        base_rate: Share of positives in the training data.
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
