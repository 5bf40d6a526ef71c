"""The source of a visit and its channel, by the rules that Google publishes for GA4's default channel groups.

Shares with the models only the seeds `channel_sources` and `click_ids`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from tests.dbt.dbt_project import PROJECT

PAID = re.compile(r"^(.*cp.*|ppc|retargeting|paid.*)$")
SHOP = re.compile(r"^(.*(([^a-df-z]|^)shop|shopping).*)$")
EMAIL = {"email", "e-mail", "e_mail", "e mail"}
SOCIAL = {"social", "social-network", "social-media", "sm", "social network", "social media"}
DISPLAY = {"display", "banner", "expandable", "interstitial", "cpm"}
NONE = {"", "(none)", "(not set)"}
SECOND_LEVEL = {"com", "co", "net", "org", "ne", "or", "it"}
TOP_LEVEL = {"com", "net", "org", "info", "cat"}


class Origin(NamedTuple):
    """Where a session came from. Values are None where unknown.

    Attributes:
        click_ids: Names of the query parameters with a click ID.
    """

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    referrer: str | None = None
    click_ids: tuple[str, ...] = ()


def channel(origin: Origin) -> str:
    """Return the channel of a session. The rules are in the order of GA4; the first that fits counts."""
    click = _click(origin.click_ids)
    unpaid_source = click["source"] if click and not click["medium"] else None
    paid_source = click["source"] if click and click["medium"] else None
    source = (origin.utm_source or paid_source or origin.referrer or unpaid_source or "").lower()
    medium = (origin.utm_medium or (click["medium"] if click else "") or "").lower()
    campaign = (origin.utm_campaign or "").lower()
    kind = category(source)
    is_paid = bool(PAID.match(medium))
    is_shopping = kind == "shopping" or bool(SHOP.match(campaign))
    is_referrer = bool(origin.referrer) and source == (origin.referrer or "").lower() and not medium and not campaign
    rules: Iterable[tuple[str, bool]] = (
        ("Direct", not source and not medium and not campaign),
        ("Direct", source in {"(direct)", "direct"} and medium in NONE),
        ("Cross-network", "cross-network" in campaign),
        ("Paid Shopping", is_shopping and is_paid),
        ("Paid Search", kind == "search" and is_paid),
        ("Paid Social", kind == "social" and is_paid),
        ("Paid Video", kind == "video" and is_paid),
        ("Display", medium in DISPLAY),
        ("Paid Other", is_paid),
        ("Organic Shopping", is_shopping),
        ("Organic Social", kind == "social" or medium in SOCIAL),
        ("Organic Video", kind == "video" or "video" in medium),
        ("Organic Search", kind == "search" or medium == "organic"),
        ("AI Assistant", medium == "ai-assistant" or (kind == "assistant" and medium in NONE | {"referral"})),
        ("Referral", medium in {"referral", "app", "link"}),
        ("Email", kind == "email" or source in EMAIL or medium in EMAIL),
        ("Affiliates", medium == "affiliate"),
        ("Audio", medium == "audio"),
        ("SMS", "sms" in (source, medium)),
        (
            "Mobile Push Notifications",
            medium.endswith("push") or "mobile" in medium or "notification" in medium or source == "firebase",
        ),
        ("Referral", is_referrer),
    )
    return next((name for name, fits in rules if fits), "Unassigned")


@cache
def category(source: str) -> str | None:
    """Return the category of the seed's most specific entry for a source, or None."""
    host = source.removeprefix("www.")
    found = [entry for entry in _seed("channel_sources") if _fits(host, entry)]
    # Of entries with equally many labels, one without `*` counts.
    best = max(found, key=lambda entry: (_labels(entry["source"], host), "*" not in entry["source"]), default=None)
    return best["category"] if best else None


def _labels(entry: str, host: str) -> int:
    return entry.count(".") + (_suffix_labels(host) if "*" in entry else 1)


def _suffix_labels(host: str) -> int:
    """Return the number of labels of a host's public suffix, 0 if international companies do not register below it."""
    labels = host.split(".")
    is_country = re.fullmatch(r"[a-z]{2}", labels[-1])
    if len(labels) > 2 and is_country and labels[-2] in SECOND_LEVEL:
        return 2
    return 1 if len(labels) > 1 and (is_country or labels[-1] in TOP_LEVEL) else 0


def _fits(host: str, entry: dict[str, str]) -> bool:
    name = entry["source"]
    if "*" in name:
        if not (count := _suffix_labels(host)):
            return False
        host, name = ".".join(host.split(".")[:-count]), name.removesuffix(".*")
    return host == name or (entry["includes_subdomains"] == "true" and host.endswith(f".{name}"))


def _click(names: Iterable[str]) -> dict[str, str] | None:
    known = [row for row in _seed("click_ids") if row["parameter"] in names]
    return min(known, key=lambda row: int(row["priority"]), default=None)


@cache
def _seed(name: str) -> tuple[dict[str, str], ...]:
    with (PROJECT / "seeds" / f"{name}.csv").open(encoding="utf-8", newline="") as seed:
        return tuple(csv.DictReader(seed))
