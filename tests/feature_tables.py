"""Generate feature tables whose true conversion probability is known, to measure models against.

The conversion probability is an explicit function of the row's columns, and the outcome is one random draw from it:
no model can predict better than the column ``truth``. The effects (steps, a saturating cart effect, an interaction of
channel and device) imitate those of a real shop; none was chosen because a model learns it easily.
"""

from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from ml import training
from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES
from ml.model import Propensity

FIRST_MONDAY = pd.Timestamp("2026-08-03", tz="UTC")
CHANNELS = np.array(["direct", "organic", "paid", "social", "email", "referral"])
DEVICES = np.array(["mobile", "desktop", "tablet"])
SYSTEMS = {"mobile": "Android", "desktop": "Windows", "tablet": "iOS"}
BROWSERS = np.array(["Chrome", "Safari", "Firefox", "Yandex", None], dtype=object)
CHANNEL_EFFECTS = {"direct": 0.1, "organic": 0.0, "paid": 0.4, "social": -0.7, "email": 0.9, "referral": 0.2}


def visitors(
    rows: int,
    *,
    seed: int,
    weeks: int = 12,
    signal: float = 1.0,
    base: float = -5.0,
    shift_from: int | None = None,
    shift: float = 0.0,
    visitors_per_row: float = 0.5,
) -> pd.DataFrame:
    """Return ``rows`` rows spread over ``weeks`` Mondays, with the columns ``truth`` and ``converted_7d``.

    With ``signal=0`` the outcome does not depend on any column. From week ``shift_from`` on, the log-odds change by
    ``shift`` and the effect of the e-mail channel turns negative: this simulates a change of behaviour.
    """
    rng = np.random.default_rng(seed)
    people = max(int(rows * visitors_per_row), 1)
    who = rng.integers(0, people, rows)
    week = rng.integers(0, weeks, rows)
    keen = rng.normal(size=people)[who]
    sessions_28d = 1 + rng.poisson(np.exp(0.2 + 0.6 * keen))
    sessions_7d = rng.binomial(sessions_28d, 0.35)
    before = rng.binomial(sessions_28d - sessions_7d, 0.4)
    pages_28d = sessions_28d + rng.poisson(sessions_28d * np.exp(0.7 + 0.3 * keen))
    pages_7d = np.minimum(pages_28d, sessions_7d + rng.binomial(pages_28d, 0.3) * (sessions_7d > 0))
    carts_28d = rng.poisson(0.08 * pages_28d * np.exp(0.5 * keen) / 2)
    carts_7d = rng.binomial(carts_28d, 0.4)
    forms = rng.poisson(0.05 * pages_28d)
    purchases = rng.binomial(carts_28d, 0.12)
    conversions = purchases + rng.binomial(forms, 0.3) + rng.poisson(0.05, rows)
    recency = np.where(sessions_7d > 0, rng.uniform(0, 7, rows), rng.uniform(7, 28, rows))
    since_cart = np.where(carts_28d > 0, np.minimum(28, recency + rng.exponential(5, rows)), np.nan)
    channel = CHANNELS[rng.choice(6, rows, p=[0.25, 0.3, 0.2, 0.12, 0.08, 0.05])]
    device = DEVICES[rng.choice(3, rows, p=[0.6, 0.34, 0.06])]
    campaign = np.where(
        np.isin(channel, ["paid", "email", "social"]), np.char.add("c", (rng.zipf(1.6, rows) % 300).astype(str)), None
    )
    evening = np.clip(rng.beta(1.2, 2, rows), 0, 1)
    frame = pd.DataFrame(
        {
            "site_id": "shop",
            "user_id": np.char.add("v", who.astype(str)).astype(object),
            "as_of": FIRST_MONDAY + pd.to_timedelta(week * 7, unit="D"),
            "days_since_last_event": recency,
            "days_since_first_event": recency + rng.exponential(30, rows),
            "days_since_last_add_to_cart": since_cart,
            "active_days_7d": np.minimum(sessions_7d, 7),
            "active_days_28d": np.minimum(sessions_28d, 28),
            "sessions_7d": sessions_7d,
            "sessions_28d": sessions_28d,
            "sessions_trend": sessions_7d - before,
            "page_views_7d": pages_7d,
            "page_views_28d": pages_28d,
            "distinct_pages_28d": np.ceil(pages_28d * rng.uniform(0.3, 1, rows)),
            "clicks_28d": rng.poisson(pages_28d * 0.8),
            "engaged_seconds_28d": rng.gamma(2, 15 * pages_28d),
            "max_scroll_percent_28d": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(0, 101, rows)),
            "form_starts_28d": forms,
            "form_submits_28d": rng.binomial(forms, 0.3),
            "add_to_carts_7d": carts_7d,
            "add_to_carts_28d": carts_28d,
            "purchases_28d": purchases,
            "conversions_total": conversions,
            "revenue_total": purchases * rng.lognormal(7.5, 0.6, rows),
            "days_since_last_conversion": np.where(conversions > 0, rng.exponential(20, rows), np.nan),
            "evening_share_28d": evening,
            "weekend_share_28d": rng.beta(1, 2.5, rows),
            "first_channel": CHANNELS[rng.choice(6, rows)],
            "last_channel": channel,
            "last_utm_source": np.where(np.isin(channel, ["paid", "email", "social"]), channel + np.str_("-src"), None),
            "last_utm_campaign": campaign,
            "device_type": device,
            "browser": BROWSERS[rng.choice(5, rows)],
            "os": np.array([SYSTEMS[d] for d in device], dtype=object),
        }
    )
    channel_effect = np.array([CHANNEL_EFFECTS[c] for c in channel])
    late = np.zeros(rows, dtype=bool) if shift_from is None else week >= shift_from
    channel_effect = np.where(late & (channel == "email"), -0.5, channel_effect)
    odds = (
        0.5 * np.log1p(sessions_7d)
        + 0.35 * np.log1p(pages_28d)
        + 1.6 * (1 - np.exp(-carts_28d)) * np.exp(-np.nan_to_num(since_cart, nan=99) / 8)
        + 0.8 * (forms > 0) * (purchases == 0)
        - 0.07 * recency
        + channel_effect
        + 0.6 * ((channel == "paid") & (device == "desktop"))
        + 0.5 * (evening > 0.6) * (device == "mobile")
        - 0.9 * ((purchases > 0) & (frame["days_since_last_conversion"].fillna(99) < 10))
        + np.where(np.char.startswith(campaign.astype(str), "c1"), 0.5, 0.0)
    )
    frame["truth"] = expit(base + signal * odds + shift * late)
    frame["converted_7d"] = rng.random(rows) < frame["truth"]
    return frame.sort_values(["as_of", "user_id"], kind="stable").reset_index(drop=True)


WEEK = timedelta(days=7)
COLUMNS: dict[str, Any] = {
    "numeric": NUMERIC_NAMES,
    "categorical": CATEGORICAL_NAMES,
    "label": "converted_7d",
    "time": "as_of",
}


@cache
def table(rows: int = 12_000, seed: int = 11) -> pd.DataFrame:
    """Return a cached table that several tests share. Tests must not modify it."""
    return visitors(rows, seed=seed)


@cache
def trained() -> Propensity:
    """Return a model trained on ``table()``, cached because training is slow."""
    return training.fit(table(), **COLUMNS, visitor="user_id", horizon=WEEK, target="conversion_7d")
