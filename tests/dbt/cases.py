"""Hypothesis strategies for sites with a few visitors and edge-case events, loaded in several deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from hypothesis import strategies as st

SPACE = UUID("7d5d6c57-6a3e-4a5e-8a3b-0f8f4b8f2a11")
DELIVERIES = 3
ZONES = ["UTC", "Europe/Moscow", "America/New_York", "Pacific/Kiritimati", "No/Such_Zone"]
# Shortly before midnight in Moscow, the end of a month in UTC, the end of summer time in New York and the start of a
# Monday in New York; and a day a month earlier.
ANCHORS = [
    datetime(2026, 10, 31, 20, 55, tzinfo=UTC),
    datetime(2026, 10, 31, 23, 50, tzinfo=UTC),
    datetime(2026, 11, 1, 5, 45, tzinfo=UTC),
    datetime(2026, 11, 9, 4, 50, tzinfo=UTC),
    datetime(2026, 10, 5, 12, 0, tzinfo=UTC),
]
GAPS = [0, 0, 10, 300, 1799, 1800, 1801, 3600, 86_400]
LATE = [0, 0, 1, 70, 3_600, 86_400, 30 * 86_400]
# Clock errors of senders, in seconds: below the correction threshold, hours, and too large to be credible.
SKEWS = [0, 0, 0, 30, -7_200, 90_000, -40 * 86_400]
TYPES = ["page_view"] * 4 + ["click", "scroll", "page_leave", "page_leave", "web_vitals", "add_to_cart", "form_start"]
TYPES += ["form_abandon", "form_submit", "form_submit", "purchase", "purchase", "purchase", "refund", "signup"]
TYPES += ["identify", "identify"]
# The site's own host, a payment page, a domain that only some sites own, and two external referrers.
REFERRERS = [None] * 5 + ["shop.ru"] * 3 + ["pay.yookassa.ru", "blog.other.ru", "ya.ru", "vk.com"]
CAMPAIGNS: list[dict[str, str]] = [{}] * 8
CAMPAIGNS += [{"utm_source": "mail", "utm_medium": "email"}, {"utm_source": "yandex", "utm_medium": "cpc"}]
CAMPAIGNS += [{"utm_source": "yandex", "utm_medium": "cpc", "utm_term": "boots"}]
DOMAINS = [["shop.ru"], ["shop.ru", "other.ru"]]


@dataclass(frozen=True)
class Site:
    """One example.

    Attributes:
        timezones: The time zones before and after the last delivery.
        domains: The domains before and after the last delivery.
        events: Rows of public.events without `site_id`, with the number of their delivery as `delivery`.
    """

    timezones: tuple[str, str]
    domains: tuple[list[str], list[str]]
    events: list[dict[str, Any]]


def _payload(draw: st.DrawFn, event_type: str) -> dict[str, Any]:
    """Draw a payload. Orders, transactions and identities have few values, so that visitors share them."""
    payload: dict[str, Any] = {}
    if event_type == "page_view":
        payload = draw(st.sampled_from([{}, {"page_view_id": "p1"}, {"page_view_id": "p2"}]))
        payload = payload | draw(st.sampled_from([{}, {}, {}, {"click_ids": {"yclid": "1"}}]))
    if event_type == "click":
        payload = {"click": {"x": 1, "y": 2}}
    if event_type in ("scroll", "page_leave"):
        seconds = draw(st.sampled_from([0, 4.5, 30]))
        payload = {"timing": {"timeOnPage": seconds, "engagedTime": seconds}}
        payload |= {"scroll": {"scrollPercent": draw(st.sampled_from([0, 40, 100]))}}
        payload |= draw(st.sampled_from([{}, {"page_view_id": "p1"}, {"page_view_id": "p2"}]))
    if event_type.startswith("form"):
        payload = {"form": {"id": "f"} | draw(st.sampled_from([{}, {"tranid": "9:1"}, {"tranid": "2"}]))}
    if event_type == "purchase":
        amounts = [{"amount": 10, "currency": "RUB"}, {"amount": 10, "currency": "USD"}, {"amount": 10}]
        amounts += [{"amount": 25.5, "currency": "KZT"}, {}]
        numbers = [{"id": "o1"}, {"id": "o2"}, {"id": "o3"}, {}]
        payload = {"order": draw(st.sampled_from(numbers)) | draw(st.sampled_from(amounts))}
        payload |= draw(st.sampled_from([{}, {"form": {"id": "f", "tranid": "2"}}]))
    if event_type == "refund":
        payload = {"order": {"id": draw(st.sampled_from(["o1", "o2"]))} | draw(st.sampled_from([{}, {"amount": 4}]))}
    if event_type in ("identify", "form_submit", "purchase"):
        identities = [{"email_sha256": "aa"}, {"email_sha256": "bb"}, {"external_id": "7"}]
        identities += [{"external_id": "8"}, {"external_id": "7", "email_sha256": "bb"}, *[{"x": "y"}] * 3]
        payload |= {"identity": draw(st.sampled_from(identities))}
    return payload


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """Draw a site with up to 30 events of up to 4 visitors and of visitors without an ID."""
    events: list[dict[str, Any]] = []
    at = draw(st.sampled_from(ANCHORS))
    for number in range(draw(st.integers(1, 30))):
        if draw(st.integers(0, 5)) == 0:
            at = draw(st.sampled_from(ANCHORS))
        at += timedelta(seconds=draw(st.sampled_from(GAPS)))
        event_type = draw(st.sampled_from(TYPES))
        is_webhook = event_type in ("form_submit", "purchase") and draw(st.booleans())
        received_at = at + timedelta(seconds=draw(st.sampled_from(LATE)))
        skew = timedelta(seconds=draw(st.sampled_from(SKEWS)))
        # As landing does, replace an impossible time by the time of arrival.
        is_credible = timedelta(hours=-25) <= received_at - at - skew <= timedelta(days=35)
        event = {
            "event_id": number,
            "user_id": draw(st.sampled_from(["a", "a", "b", "c", "d", "cookieless.e", None])),
            "session_id": None if is_webhook else draw(st.sampled_from([1, 2, 3, 4, None])),
            "event_type": event_type,
            "source": "webhook" if is_webhook else "api",
            "is_bot": draw(st.integers(0, 9)) == 0,
            "created_at": at + skew if is_credible else received_at,
            "client_created_at": draw(st.sampled_from([at + skew] * 5 + [None])),
            "sent_at": draw(st.sampled_from([received_at + skew] * 3 + [None])),
            "received_at": received_at,
            "page_host": "shop.ru",
            "page_path": draw(st.sampled_from(["/", "/p"])),
            "referrer_host": draw(st.sampled_from(REFERRERS)),
            **dict.fromkeys(("utm_source", "utm_medium", "utm_term")),
            **draw(st.sampled_from(CAMPAIGNS)),
            "device_type": draw(st.sampled_from([None, "mobile", "desktop"])),
            "payload": _payload(draw, event_type),
            "delivery": draw(st.integers(0, DELIVERIES - 1)),
        }
        events.append(event)
        if draw(st.integers(0, 7)) == 0:  # a duplicate: equal, or with another time or visitor
            again = event | {"delivery": draw(st.integers(0, DELIVERIES - 1))}
            if draw(st.booleans()):
                again["created_at"] += timedelta(minutes=draw(st.integers(-40, 40)))
                again["received_at"] = received_at + timedelta(minutes=draw(st.integers(-1, 1)))
                again["user_id"] = draw(st.sampled_from([event["user_id"], "a", "b"]))
            events.append(again)
    return Site(
        timezones=(draw(st.sampled_from(ZONES)), draw(st.sampled_from(ZONES))),
        domains=(DOMAINS[0], draw(st.sampled_from([*DOMAINS, DOMAINS[0]]))),
        events=events,
    )


def rows_of(site_id: str, site: Site, delivery: int, loaded_at: datetime) -> list[dict[str, Any]]:
    """Return the rows of public.events of one delivery.

    Every five sites share their event IDs, as when one file is imported into several sites.

    Args:
        site_id: `site-` and a number.
        site: The example.
        delivery: Number of the delivery.
        loaded_at: Load time of all rows.
    """
    rows: list[dict[str, Any]] = []
    sharing = int(site_id.removeprefix("site-")) // 5
    for event in site.events:
        if event["delivery"] != delivery:
            continue
        row = {name: value for name, value in event.items() if name != "delivery"}
        row["event_id"] = uuid5(SPACE, f"{sharing} event {event['event_id']}")
        if row["session_id"]:
            row["session_id"] = uuid5(SPACE, f"{site_id} session {event['session_id']}")
        rows.append(row | {"site_id": site_id, "loaded_at": loaded_at})
    return rows
