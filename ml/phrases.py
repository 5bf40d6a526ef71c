"""Values and reasons in plain words."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from ml.features import Feature, describe
from ml.serving import ABSENT

MORE = "more likely: "
LESS = "less likely: "


def phrases(name: str, values: np.ndarray) -> np.ndarray:
    """What each of ``values`` of the column ``name`` means, shape (n,) of str: "added to cart 2 days ago".

    Values are rounded as a person would say them, so that a million rows have few different phrases.
    """
    feature = describe(name)
    if values.dtype == object:
        codes, uniques = pd.factorize(values)
        said = [_text(feature, value) for value in uniques]
        return np.array(said, dtype=object)[codes]
    codes, uniques = pd.factorize(_rounded(feature, values), use_na_sentinel=True)
    said = [_number(feature, float(value)) for value in uniques]
    absent = feature.absent or f"{feature.label}: unknown"
    return np.array([absent, *said], dtype=object)[codes + 1]


def _text(feature: Feature, value: str) -> str:
    if value == ABSENT:
        return feature.absent or f"{feature.label}: unknown"
    return feature.words.replace("{}", value)


def _rounded(feature: Feature, values: np.ndarray) -> np.ndarray:
    if feature.unit == "days":
        return np.where(values < 1, np.round(np.maximum(values, 0) * 24) / 24, np.round(values))
    if feature.unit == "share":
        return np.round(values, 2)
    if feature.unit in {"number", "money", "seconds"}:
        with np.errstate(divide="ignore", invalid="ignore"):
            size = 10.0 ** (np.floor(np.log10(np.abs(values))) - 1)
            return np.where(values == 0, 0.0, np.round(values / size) * size)
    return np.round(values)


def _number(feature: Feature, value: float) -> str:
    if feature.unit == "count" and value == 0:
        return feature.words.replace("{}", "no").replace("{s}", "s")
    written = UNITS.get(feature.unit, _plain)(value)
    return feature.words.replace("{}", written).replace("{s}", "" if value == 1 else "s")


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


def _days(value: float) -> str:
    if value < 1:
        hours = round(value * 24)
        return "less than an hour" if hours == 0 else f"{hours} hour{'' if hours == 1 else 's'}"
    return f"{value:,.0f} day{'' if value == 1 else 's'}"


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.0f} seconds"
    if value < 5400:
        minutes = math.floor(value / 60 + 0.5)
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{value / 3600:,.1f} hours"


UNITS: dict[str, Callable[[float], str]] = {
    "days": _days,
    "seconds": _seconds,
    "percent": lambda value: f"{value:.0f} %",
    "share": lambda value: f"{value:.0%}".replace("%", " %"),
    "change": lambda value: f"{value:+.0f}" if value else "no more or fewer",
}
