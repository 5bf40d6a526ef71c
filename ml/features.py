"""The feature columns of ``marts.visitor_features``, in plain words, and the targets to predict."""

import re
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from ml.errors import TargetsError

SITE = "site_id"
VISITOR = "user_id"
TIME = "as_of"
KEYS = (SITE, VISITOR, TIME)
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")

Unit = Literal["count", "days", "seconds", "percent", "share", "money", "change", "number", "text"]


@dataclass(frozen=True)
class Feature:
    """One column: its name, its words for a marketer, and how its values are written.

    ``words`` is a template for a value, ``{}``, with ``{s}`` for the plural; ``absent`` is said of a null.
    ``theme`` groups columns that say nearly the same, so that reasons do not repeat themselves. A value that ``grows``
    rises by itself as a site gets older, whatever its visitors do.
    """

    name: str
    label: str
    unit: Unit
    theme: str
    words: str
    absent: str = ""
    grows: bool = False


NUMERIC: tuple[Feature, ...] = (
    Feature("days_since_last_event", "days since the last visit", "days", "recency", "last seen {} ago"),
    Feature("days_since_first_event", "days since the first visit", "days", "age", "first seen {} ago", grows=True),
    Feature(
        "days_since_last_add_to_cart",
        "days since the last add to cart",
        "days",
        "cart",
        "added to cart {} ago",
        "never added to cart",
    ),
    Feature("active_days_7d", "active days in 7 days", "count", "frequency", "{} active day{s} in 7 days"),
    Feature("active_days_28d", "active days in 28 days", "count", "frequency", "{} active day{s} in 28 days"),
    Feature("sessions_7d", "sessions in 7 days", "count", "frequency", "{} session{s} in 7 days"),
    Feature("sessions_28d", "sessions in 28 days", "count", "frequency", "{} session{s} in 28 days"),
    Feature(
        "sessions_trend",
        "change in sessions, week on week",
        "change",
        "trend",
        "{} sessions against the week before",
    ),
    Feature("page_views_7d", "page views in 7 days", "count", "depth", "{} page view{s} in 7 days"),
    Feature("page_views_28d", "page views in 28 days", "count", "depth", "{} page view{s} in 28 days"),
    Feature("distinct_pages_28d", "different pages in 28 days", "count", "depth", "{} different page{s} in 28 days"),
    Feature("clicks_28d", "clicks in 28 days", "count", "clicks", "{} click{s} in 28 days"),
    Feature("engaged_seconds_28d", "engaged time in 28 days", "seconds", "attention", "{} of attention in 28 days"),
    Feature(
        "max_scroll_percent_28d",
        "deepest scroll in 28 days",
        "percent",
        "scroll",
        "scrolled down to {}",
        "never scrolled",
    ),
    Feature("form_starts_28d", "forms started in 28 days", "count", "forms", "{} form{s} started in 28 days"),
    Feature("form_submits_28d", "forms sent in 28 days", "count", "forms", "{} form{s} sent in 28 days"),
    Feature("add_to_carts_7d", "cart adds in 7 days", "count", "cart", "{} cart add{s} in 7 days"),
    Feature("add_to_carts_28d", "cart adds in 28 days", "count", "cart", "{} cart add{s} in 28 days"),
    Feature("purchases_28d", "purchases in 28 days", "count", "purchases", "{} purchase{s} in 28 days"),
    Feature("conversions_total", "conversions so far", "count", "conversions", "{} conversion{s} so far", grows=True),
    Feature("revenue_total", "revenue so far", "money", "purchases", "{} spent so far", grows=True),
    Feature(
        "days_since_last_conversion",
        "days since the last conversion",
        "days",
        "conversions",
        "last conversion {} ago",
        "no conversion so far",
    ),
    Feature(
        "evening_share_28d",
        "share of evening sessions",
        "share",
        "hours",
        "{} of sessions in the evening",
        "no session in 28 days",
    ),
    Feature(
        "weekend_share_28d",
        "share of weekend sessions",
        "share",
        "weekdays",
        "{} of sessions at the weekend",
        "no session in 28 days",
    ),
)

CATEGORICAL: tuple[Feature, ...] = (
    Feature(
        "first_channel", "first channel", "text", "first channel", "first came through {}", "first channel unknown"
    ),
    Feature("last_channel", "last channel", "text", "channel", "last came through {}", "last channel unknown"),
    Feature("last_utm_source", "last source", "text", "channel", "last source {}", "no tagged source"),
    Feature("last_utm_campaign", "last campaign", "text", "campaign", "last campaign {}", "no campaign"),
    Feature("device_type", "device", "text", "device", "device: {}", "device unknown"),
    Feature("browser", "browser", "text", "browser", "browser: {}", "browser unknown"),
    Feature("os", "operating system", "text", "device", "system: {}", "system unknown"),
)

FEATURES: dict[str, Feature] = {feature.name: feature for feature in (*NUMERIC, *CATEGORICAL)}
NUMERIC_NAMES = tuple(feature.name for feature in NUMERIC)
CATEGORICAL_NAMES = tuple(feature.name for feature in CATEGORICAL)


@dataclass(frozen=True)
class Target:
    """A question to answer for each visitor; ``words`` names one positive ("a conversion").

    ``label`` is a column of the features, unless ``goals`` are named: then it is made of what happened within
    ``horizon``.
    """

    name: str
    label: str
    words: str
    horizon: timedelta
    settle: timedelta
    weeks: int
    goals: tuple[str, ...] = ()


def describe(name: str) -> Feature:
    """The feature called ``name``; a column that is not ours is described by its own name."""
    known = FEATURES.get(name)
    if known is not None:
        return known
    words = name.replace("_", " ").strip()
    return Feature(name, words, "number", name, words + ": {}", words + ": absent")


def load_targets(path: Path | None = None) -> dict[str, Target]:
    """The targets declared in a YAML file, by name; without a path those of ``targets.yml`` beside this file.

    Raises:
        TargetsError: The file cannot be read, or an entry lacks a field or names a length of time that cannot be.
    """
    source = path or files("ml").joinpath("targets.yml")
    try:
        declared = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise TargetsError(f"The targets in {source} cannot be read: {error}") from error
    if not isinstance(declared, dict) or not declared:
        raise TargetsError(f"{source} declares no target; ml/targets.yml shows how.")
    return {name: _target(str(name), entry) for name, entry in declared.items()}


def _target(name: str, entry: Any) -> Target:  # noqa: ANN401  # any YAML
    fields = {"words", "horizon_days", "settle_days", "weeks"}
    if not NAME.fullmatch(name):
        raise TargetsError(f"{name!r} is no name of a target; use lower-case letters, digits and underscores.")
    if not isinstance(entry, dict) or set(entry) not in (fields | {"label"}, fields | {"goals"}):
        raise TargetsError(f"Target {name} must have {', '.join(sorted(fields))}, and either label or goals.")
    days = [entry["horizon_days"], entry["settle_days"], entry["weeks"]]
    if not all(isinstance(value, int) for value in days) or not (0 < days[0] <= days[1] and days[2] > 0):
        raise TargetsError(f"Target {name} needs whole numbers with 0 < horizon_days <= settle_days and weeks > 0.")
    return Target(
        name=name,
        label=str(entry.get("label", name)),
        words=str(entry["words"]),
        horizon=timedelta(days=entry["horizon_days"]),
        settle=timedelta(days=entry["settle_days"]),
        weeks=entry["weeks"],
        goals=tuple(map(str, entry.get("goals", ()))),
    )
