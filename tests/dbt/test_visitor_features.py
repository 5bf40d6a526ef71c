"""Visitor features match a recomputation from the events that were received before each cutoff."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.dbt.conftest import Models
from tests.dbt.events import TIDY_SITES, of_sites
from tests.dbt.oracle.sessions import prepare, sessionise, zone

CONVERSIONS = ("form_submit", "signup", "purchase")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _recomputed(stored: list[dict[str, Any]], site: str, day: date) -> dict[str, dict[str, Any]]:
    """Return the expected features by visitor, from events received before midnight of `day`."""
    site_zone = zone(site)
    as_of = _midnight(day, site_zone)
    known = prepare([row for row in stored if row["site_id"] == site and row["received_at"] < as_of])
    sessions = sessionise(known)
    week, month = day - timedelta(7), day - timedelta(28)
    rows: dict[str, dict[str, Any]] = {}
    for user in {event["user"] for event in known if event["user_id"]}:
        visitor_events = [
            event | {"day": event["at"].astimezone(site_zone).date()} for event in known if event["user"] == user
        ]
        recent_events = [event for event in visitor_events if event["day"] >= month]
        if not recent_events:
            continue
        starts = sorted(
            (session[0] for session in sessions if session[0]["user"] == user), key=lambda event: event["order"]
        )
        days = [start["at"].astimezone(site_zone) for start in starts]
        recent = [start for start in days if start.date() >= month]
        rows[user] = {
            "days_since_last_event": (as_of - max(event["at"] for event in visitor_events)) / timedelta(1),
            "days_since_first_event": (as_of - min(event["at"] for event in visitor_events)) / timedelta(1),
            "active_days_7d": len({event["day"] for event in visitor_events if event["day"] >= week}),
            "active_days_28d": len({event["day"] for event in recent_events}),
            "sessions_7d": sum(start.date() >= week for start in days),
            "sessions_28d": len(recent),
            "sessions_trend": sum(start.date() >= week for start in days)
            - sum(week - timedelta(7) <= start.date() < week for start in days),
            "page_views_28d": sum(event["event_type"] == "page_view" for event in recent_events),
            "distinct_pages_28d": len({e["page_path"] for e in recent_events if e["event_type"] == "page_view"}),
            "add_to_carts_28d": sum(event["event_type"] == "add_to_cart" for event in recent_events),
            "evening_share_28d": sum(start.hour >= 18 for start in recent) / len(recent) if recent else None,
            "weekend_share_28d": sum(start.weekday() >= 5 for start in recent) / len(recent) if recent else None,
            "last_utm_source": (starts[-1]["inherits"] or starts[-1])["utm_source"] if starts else None,
        }
    return rows


@pytest.fixture(scope="module")
def features(models: Models) -> list[dict[str, Any]]:
    return models.rows(f"select * from marts.visitor_features where {of_sites(TIDY_SITES)}")


def test_features_use_only_events_received_before_the_cutoff(models: Models, features: list[dict[str, Any]]) -> None:
    stored = models.rows(f"select * from public.events where {of_sites(TIDY_SITES)}")
    cutoffs = {(row["site_id"], row["as_of"].astimezone(zone(row["site_id"])).date()) for row in features}
    late = models.rows("select * from intermediate.int_visitor_cutoffs where has_late_events")
    assert len(cutoffs) > 12
    assert late, "the data needs a visitor with events that arrived after the cutoff; otherwise the test proves little"
    for site, day in cutoffs:
        expected = _recomputed(stored, site, day)
        as_of = _midnight(day, zone(site))
        modelled = {row["user_id"]: row for row in features if row["site_id"] == site and row["as_of"] == as_of}
        assert modelled.keys() == expected.keys()
        for user, row in expected.items():
            assert {name: modelled[user][name] for name in row} == pytest.approx(row, nan_ok=True), (site, day, user)


def test_labels_match_the_recomputation(models: Models, features: list[dict[str, Any]]) -> None:
    stored = prepare(models.rows(f"select * from public.events where {of_sites(TIDY_SITES)}"))
    newest = {site: max(e["received_at"] for e in stored if e["site_id"] == site) for site in TIDY_SITES}
    starts = [session[0] for session in sessionise(stored)]
    for row in features:
        site_zone = zone(row["site_id"])
        day = row["as_of"].astimezone(site_zone).date()
        if _midnight(day + timedelta(9), site_zone) > newest[row["site_id"]]:
            assert (row["converted_7d"], row["purchased_7d"], row["returned_7d"]) == (None, None, None)
            continue
        assert day.weekday() == 0
        until = _midnight(day + timedelta(7), site_zone)
        visitor = (row["site_id"], row["user_id"])
        after = [e for e in stored if (e["site_id"], e["user"]) == visitor and row["as_of"] < e["at"] <= until]
        assert row["converted_7d"] == any(event["event_type"] in CONVERSIONS for event in after)
        assert row["purchased_7d"] == any(event["event_type"] == "purchase" for event in after)
        assert row["returned_7d"] == any(
            (start["site_id"], start["user"]) == visitor and row["as_of"] < start["at"] <= until for start in starts
        )
