"""What a model is worth, as data, as a page and as Markdown. No row of any person is in any of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_curve

from ml import charts, serving
from ml.evaluation import losses
from ml.features import describe
from ml.learners import sample
from ml.model import Propensity, Trial
from ml.monitoring import Drift, Realised

IMPORTANCE_ROWS = 3_000
DEPENDENCE_ROWS = 500
DEPENDENCE_COLUMNS = 4
POINTS = 100


@dataclass(frozen=True)
class Page:
    """``data`` for JSON, ``charts`` by name as SVG, ``html`` a whole page, ``markdown`` a short summary."""

    data: dict[str, Any]
    charts: dict[str, str]
    html: str
    markdown: str


def page(
    model: Propensity,
    frame: pd.DataFrame,
    *,
    label: str,
    drift: Sequence[Drift] = (),
    realised: Sequence[Realised] = (),
) -> Page:
    """Describe a model fresh from ``training.fit``.

    Args:
        model: With its trial.
        frame: The very table that ``training.fit`` was given.
        label: Its label column.
        drift: From ``monitoring.drift``, shown if given.
        realised: From ``monitoring.realised``, shown if given.

    Raises:
        ValueError: The model was loaded, so its trial is gone.
    """
    if model.trial is None:
        raise ValueError("Only a model fresh from training can be described; its stored metrics hold the figures.")
    trial = model.trial
    newest = frame.iloc[trial.rows.index]
    importance = permutation_importance(model, newest, label=label)
    dependence = {name: partial_dependence(model, newest, name) for name, _ in importance[:DEPENDENCE_COLUMNS]}
    data: dict[str, Any] = {
        "model": {"version": model.version, "kind": model.kind, "rows": model.rows, "positives": model.positives},
        "trial": trial.summary(),
        "curves": _curves(trial),
        "importance": [{"column": name, "loss": loss} for name, loss in importance],
        "partial_dependence": dependence,
        "drift": [vars(one) for one in drift],
        "realised": [one.as_dict() for one in realised],
    }
    drawn = _draw(data, trial, realised)
    return Page(data, drawn, _html(model, trial, drawn), _markdown(model, trial, importance, drift, realised))


def permutation_importance(
    model: Propensity, frame: pd.DataFrame, *, label: str, seed: int = 0
) -> list[tuple[str, float]]:
    """How much the log-loss rises (nats a row) when a column is shuffled, most important first.

    Method: Breiman (2001), with one shuffle of at most 3,000 rows.
    """
    rng = np.random.default_rng(seed)
    part = frame.iloc[sample(len(frame), IMPORTANCE_ROWS, seed)]
    x = serving.prepare(part, model.numeric, model.categorical)
    y = part[label].to_numpy(dtype="int8")
    order = rng.permutation(len(x))
    shuffled = [x.assign(**{name: x[name].to_numpy()[order]}) for name in x.columns]
    whole, *others = (losses(y, p).mean() for p in _predict(model, [x, *shuffled]))
    found = [(name, float(loss - whole)) for name, loss in zip(x.columns, others, strict=True)]
    return sorted(found, key=lambda one: -one[1])


def partial_dependence(model: Propensity, frame: pd.DataFrame, column: str, *, seed: int = 0) -> dict[str, list[Any]]:
    """The mean score when everyone had the same value: lists "values" and "scores".

    Numbers take their deciles, text its ten most frequent values. Method: Friedman (2001), on at most 500 rows.
    """
    part = frame.iloc[sample(len(frame), DEPENDENCE_ROWS, seed)]
    x = serving.prepare(part, model.numeric, model.categorical)
    if column in model.categorical:
        values: list[Any] = x[column].value_counts().index[:10].tolist()
    else:
        values = np.unique(np.nanquantile(x[column], np.linspace(0, 1, 11))).tolist() if x[column].notna().any() else []
    scores = [float(p.mean()) for p in _predict(model, [x.assign(**{column: value}) for value in values])]
    return {"values": values, "scores": scores}


def _predict(model: Propensity, frames: list[pd.DataFrame]) -> list[np.ndarray]:
    """Scores of several frames of one length, predicted at once: a call costs more than a thousand rows."""
    if not frames:
        return []
    together = pd.concat(frames, ignore_index=True)
    return np.split(expit(serving.margin(model.bundle, together)), len(frames))


def _curves(trial: Trial) -> dict[str, dict[str, list[float]]]:
    y, p = trial.rows["y"].to_numpy(), trial.rows["score"].to_numpy()
    false_rate, true_rate, _ = roc_curve(y, p)
    precision, recall, _ = precision_recall_curve(y, p)
    counts, edges = np.histogram(p, bins=40)
    return {
        "roc": _thinned_curve(false_rate, true_rate),
        "precision_recall": _thinned_curve(recall[::-1], precision[::-1]),
        "scores": {"x": edges[:-1].tolist(), "y": counts.astype(float).tolist()},
    }


def _thinned_curve(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """A hundred points of a curve, evenly along its rising ``x``."""
    places = np.minimum(np.searchsorted(x, np.linspace(x[0], x[-1], POINTS)), len(x) - 1)
    return {"x": x[places].astype(float).tolist(), "y": y[places].astype(float).tolist()}


def _draw(data: dict[str, Any], trial: Trial, realised: Sequence[Realised]) -> dict[str, str]:
    curves, tenths = data["curves"], trial.chosen.deciles
    numbers = [float(one.decile) for one in tenths]
    roc, recall, spread = curves["roc"], curves["precision_recall"], curves["scores"]
    drawn = {
        "roc": charts.lines(
            "ROC",
            [charts.Line("model", roc["x"], roc["y"]), charts.Line("chance", [0, 1], [0, 1], dashed=True)],
            x_label="share of others reached",
            y_label="share of positives reached",
        ),
        "precision_recall": charts.lines(
            "Precision and recall",
            [charts.Line("model", recall["x"], recall["y"])],
            x_label="recall",
            y_label="precision",
        ),
        "calibration": charts.lines(
            "Calibration: expected with 95 % interval, and observed",
            [
                charts.Line(
                    "expected",
                    numbers,
                    [one.mean_score for one in tenths],
                    [one.low for one in tenths],
                    [one.high for one in tenths],
                ),
                charts.Line("observed", numbers, [one.observed for one in tenths], dashed=True),
            ],
            x_label="decile, 1 = highest scores",
            y_label="rate",
        ),
        "lift": charts.lines(
            "Lift by decile",
            [charts.Line("lift", numbers, [one.lift for one in tenths])],
            x_label="decile, 1 = highest scores",
            y_label="times the average",
        ),
        "gain": charts.lines(
            "Gain",
            [
                charts.Line("model", [0.0, *numbers], [0.0, *(one.gain for one in tenths)]),
                charts.Line("chance", [0, len(tenths)], [0, 1], dashed=True),
            ],
            x_label="deciles reached",
            y_label="share of positives",
        ),
        "scores": charts.lines(
            "Scores", [charts.Line("visitors", spread["x"], spread["y"])], x_label="score", y_label="visitors"
        ),
        "importance": charts.bars(
            "Importance: rise of the error when shuffled",
            [describe(one["column"]).label for one in data["importance"][:12]],
            [one["loss"] for one in data["importance"][:12]],
        ),
    }
    for name, found in data["partial_dependence"].items():
        title, values, scores = describe(name).label, found["values"], found["scores"]
        if values and isinstance(values[0], str):
            drawn[f"dependence_{name}"] = charts.bars(title, values, scores)
        elif values:
            line = charts.Line(title, values, scores)
            drawn[f"dependence_{name}"] = charts.lines(title, [line], x_label=title, y_label="mean score")
    if data["drift"]:
        worst = data["drift"][:12]
        drawn["drift"] = charts.bars("Drift (PSI)", [one["label"] for one in worst], [one["psi"] for one in worst])
    if realised:
        weeks = [float(number) for number in range(1, len(realised) + 1)]
        drawn["realised"] = charts.lines(
            "Promised and realised",
            [
                charts.Line(
                    "expected",
                    weeks,
                    [one.expected for one in realised],
                    [one.low for one in realised],
                    [one.high for one in realised],
                ),
                charts.Line("realised", weeks, [one.converted for one in realised], dashed=True),
            ],
            x_label="cut-off, oldest first",
            y_label="conversions",
        )
    return drawn


def _html(model: Propensity, trial: Trial, drawn: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{one.roc_auc:.3f}</td><td>{one.log_loss:.4f}</td>"
        f"<td>{one.brier:.4f}</td><td>{one.share_of_gain:.1%}</td></tr>"
        for name, one in trial.rivals.items()
    )
    figures = "".join(f"<figure>{svg}</figure>" for svg in drawn.values())
    unseen = f"<p>{escape(_unseen_sentence(trial))}</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Propensity model</title><style>'
        "body{font-family:sans-serif;margin:2rem}figure{display:inline-block;margin:.5rem;vertical-align:top}"
        "td,th{padding:.2rem .8rem;text-align:left}</style></head><body>"
        f"<h1>{escape(model.version)}</h1><p>{escape(_summary_sentence(model, trial))}</p>"
        "<table><tr><th>rival</th><th>ROC-AUC</th><th>log-loss</th><th>Brier</th><th>gain over base rate</th></tr>"
        f"{rows}</table>{unseen}{figures}</body></html>"
    )


def _markdown(
    model: Propensity,
    trial: Trial,
    importance: list[tuple[str, float]],
    drift: Sequence[Drift],
    realised: Sequence[Realised],
) -> str:
    parts = [f"**{model.version}** {_summary_sentence(model, trial)}", ""]
    parts += ["| decile | visitors | expected | observed | 95 % interval | lift |", "|---|---|---|---|---|---|"]
    parts += [
        f"| {one.decile} | {one.n:,} | {one.mean_score:.2%} | {one.observed:.2%} | "
        f"{one.low:.2%} to {one.high:.2%} | {one.lift:.1f} |"
        for one in trial.chosen.deciles
    ]
    parts += ["", _unseen_sentence(trial)]
    parts += ["", "Most telling: " + ", ".join(describe(name).label for name, _ in importance[:5]) + "."]
    moved = [one.label for one in drift if one.moved]
    if drift:
        parts.append(f"Moved since training: {', '.join(moved) or 'nothing'}.")
    parts += [
        f"{one.as_of:%Y-%m-%d}: {one.expected:.0f} expected, {one.converted:,} came ({one.low:,} to {one.high:,} was "
        f"promised{'' if one.kept else '; not kept'})."
        for one in realised
    ]
    return "\n".join(parts)


def _unseen_sentence(trial: Trial) -> str:
    """How the model does for visitors it has never seen, who have no past of their own in it."""
    unseen = trial.unseen
    if unseen is None:
        return "No visitor of the newest period was unseen in training."
    auc = "" if np.isnan(unseen.roc_auc) else f"; ROC-AUC {unseen.roc_auc:.3f}"
    return (
        f"Visitors unseen in training: {unseen.n:,} examples, {unseen.mean_score:.2%} expected and "
        f"{unseen.base_rate:.2%} observed, {unseen.share_of_gain:.1%} of the error taken away{auc}."
    )


def _summary_sentence(model: Propensity, trial: Trial) -> str:
    chosen = trial.chosen
    return (
        f"The {model.kind} was chosen. On {chosen.n:,} newer examples ({chosen.positives:,} positive, "
        f"{chosen.base_rate:.2%}) it takes away {chosen.share_of_gain:.1%} of the base rate's error; ROC-AUC "
        f"{chosen.roc_auc:.3f}, calibration slope {chosen.calibration_slope:.2f}."
    )
