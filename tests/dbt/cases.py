"""Sites as hypothesis makes them: a few visitors, events that are hard on incremental models, in several deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from hypothesis import strategies as st

SPACE = UUID("7d5d6c57-6a3e-4a5e-8a3b-0f8f4b8f2a11")
DELIVERIES = 3
ZONES = ["UTC", "Europe/Moscow", "America/New_York", "Pacific/Kiritimati", "No/Such_Zone"]
# Midnights of Moscow, of UTC at a month's end, the end of summer time in New York, a Monday, a month before.
ANCHORS = [
    datetime(2026, 10, 31, 20, 55, tzinfo=UTC),
    datetime(2026, 10, 31, 23, 50, tzinfo=UTC),
    datetime(2026, 11, 1, 5, 45, tzinfo=UTC),
    datetime(2026, 11, 9, 4, 50, tzinfo=UTC),
    datetime(2026, 10, 5, 12, 0, tzinfo=UTC),
]
GAPS = [0, 0, 10, 300, 1799, 1800, 1801, 3600, 86_400]
LATE = [0, 0, 1, 70, 3_600, 86_400, 30 * 86_400]
TYPES = ["page_view", "page_view", "page_view", "click", "page_leave", "add_to_cart", "form_abandon", "form_submit"]
TYPES += ["purchase", "signup", "identify"]


@dataclass(frozen=True)
class Site:
    """One example.

    Attributes:
        timezones: Before and after the last delivery.
        events: Rows of public.events without `site_id`, with the number of their delivery as `delivery`.
    """

    timezones: tuple[str, str]
    events: list[dict[str, Any]]


def _payload(draw: st.DrawFn, event_type: str) -> dict[str, Any]:
    """Orders, transactions and identities come from few, so that visitors share them."""
    payload: dict[str, Any] = {}
    if event_type == "page_view":
        payload = draw(st.sampled_from([{}, {"page_view_id": "p1"}, {"page_view_id": "p2"}]))
    if event_type == "click":
        payload = {"click": {"x": 1, "y": 2}}
    if event_type == "page_leave":
        seconds = draw(st.sampled_from([0, 4.5, 30]))
        payload = {"page_view_id": "p1", "timing": {"timeOnPage": seconds, "engagedTime": seconds}}
    if event_type.startswith("form"):
        payload = {"form": {"id": "f"} | draw(st.sampled_from([{}, {"tranid": "9:1"}, {"tranid": "2"}]))}
    if event_type == "purchase":
        payload = {"order": {"id": draw(st.sampled_from(["o1", "o2", "o3"])), "amount": 10, "currency": "RUB"}}
    if event_type in ("identify", "form_submit", "purchase"):
        identities = [{"email_sha256": "aa"}, {"email_sha256": "bb"}, {"external_id": "7"}]
        identities += [{"external_id": "7", "email_sha256": "bb"}, *[{"x": "y"}] * 3]
        payload |= {"identity": draw(st.sampled_from(identities))}
    return payload


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """Up to 30 events of up to 4 visitors and those without an id."""
    events: list[dict[str, Any]] = []
    at = draw(st.sampled_from(ANCHORS))
    for number in range(draw(st.integers(1, 30))):
        if draw(st.integers(0, 5)) == 0:
            at = draw(st.sampled_from(ANCHORS))
        at += timedelta(seconds=draw(st.sampled_from(GAPS)))
        event_type = draw(st.sampled_from(TYPES))
        is_webhook = event_type in ("form_submit", "purchase") and draw(st.booleans())
        received_at = at + timedelta(seconds=draw(st.sampled_from(LATE)))
        event = {
            "event_id": number,
            "user_id": draw(st.sampled_from(["a", "b", "c", "d", None])),
            "session_id": None if is_webhook else draw(st.sampled_from([1, 2, 3, None])),
            "event_type": event_type,
            "source": "webhook" if is_webhook else "api",
            "is_bot": draw(st.integers(0, 9)) == 0,
            "created_at": at,
            "client_created_at": at,
            "sent_at": draw(st.sampled_from([None, received_at, received_at - timedelta(hours=2)])),
            "received_at": received_at,
            "page_host": "shop.ru",
            "page_path": draw(st.sampled_from(["/", "/p"])),
            "referrer_host": draw(st.sampled_from([None, None, "shop.ru", "ya.ru"])),
            "utm_source": draw(st.sampled_from([None, None, None, "mail"])),
            "payload": _payload(draw, event_type),
            "delivery": draw(st.integers(0, DELIVERIES - 1)),
        }
        events.append(event)
        if draw(st.integers(0, 7)) == 0:  # sent again: the same row, under another time, by another visitor
            again = event | {"delivery": draw(st.integers(0, DELIVERIES - 1))}
            if draw(st.booleans()):
                again["created_at"] = at + timedelta(minutes=draw(st.integers(-40, 40)))
                again["received_at"] = received_at + timedelta(minutes=draw(st.integers(-1, 1)))
                again["user_id"] = draw(st.sampled_from([event["user_id"], "a", "b"]))
            events.append(again)
    return Site((draw(st.sampled_from(ZONES)), draw(st.sampled_from(ZONES))), events)


def rows_of(site_id: str, site: Site, delivery: int, loaded_at: datetime) -> list[dict[str, Any]]:
    """Rows of public.events of one delivery; ids are the site's own."""
    rows: list[dict[str, Any]] = []
    for event in site.events:
        if event["delivery"] != delivery:
            continue
        row = {name: value for name, value in event.items() if name != "delivery"}
        row["event_id"] = uuid5(SPACE, f"{site_id} event {event['event_id']}")
        if row["session_id"]:
            row["session_id"] = uuid5(SPACE, f"{site_id} session {event['session_id']}")
        rows.append(row | {"site_id": site_id, "loaded_at": loaded_at})
    return rows
