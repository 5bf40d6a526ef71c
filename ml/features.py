"""The feature columns of ``marts.visitor_features``, in plain words, and the targets to predict."""

from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import Any, Literal

import yaml

SITE = "site_id"
VISITOR = "user_id"
TIME = "as_of"
KEYS = (SITE, VISITOR, TIME)

Unit = Literal["count", "days", "seconds", "percent", "share", "money", "change", "number", "text"]


@dataclass(frozen=True)
class Feature:
    """One column: its name, its words for a marketer, and how its values are written.

    ``words`` is a template for a value, ``{}``, with ``{s}`` for the plural; ``absent`` is said of a null.
    ``theme`` groups columns that say nearly the same, so that reasons do not repeat themselves.
    """

    name: str
    label: str
    unit: Unit
    theme: str
    words: str
    absent: str = ""


NUMERIC: tuple[Feature, ...] = (
    Feature("days_since_last_event", "days since the last visit", "days", "recency", "last seen {} ago"),
    Feature("days_since_first_event", "days since the first visit", "days", "age", "first seen {} ago"),
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
    Feature("conversions_total", "conversions so far", "count", "conversions", "{} conversion{s} so far"),
    Feature("revenue_total", "revenue so far", "money", "purchases", "{} spent so far"),
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
    """A question to answer for each visitor; ``words`` names one positive ("a conversion")."""

    name: str
    label: str
    words: str
    horizon: timedelta
    settle: timedelta
    weeks: int


def describe(name: str) -> Feature:
    """The feature called ``name``; a column that is not ours is described by its own name."""
    known = FEATURES.get(name)
    if known is not None:
        return known
    words = name.replace("_", " ").strip()
    return Feature(name, words, "number", name, words + ": {}", words + ": absent")


def load_targets() -> dict[str, Target]:
    """The targets declared in ``targets.yml``, by name.

    Raises:
        ValueError: An entry lacks a field or names a length of time that is not positive.
    """
    text = files("ml").joinpath("targets.yml").read_text(encoding="utf-8")
    declared: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {name: _target(name, entry) for name, entry in declared.items()}


def _target(name: str, entry: dict[str, Any]) -> Target:
    fields = {"label", "words", "horizon_days", "settle_days", "weeks"}
    if set(entry) != fields:
        raise ValueError(f"targets.yml: {name} must have exactly the fields {', '.join(sorted(fields))}.")
    if not (0 < entry["horizon_days"] <= entry["settle_days"] and entry["weeks"] > 0):
        raise ValueError(f"targets.yml: {name} needs 0 < horizon_days <= settle_days and weeks > 0.")
    return Target(
        name=name,
        label=entry["label"],
        words=entry["words"],
        horizon=timedelta(days=entry["horizon_days"]),
        settle=timedelta(days=entry["settle_days"]),
        weeks=entry["weeks"],
    )
