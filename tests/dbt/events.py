"""Edge-case events: late, duplicated, with wrong clocks, without session or visitor, across days and time zones."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tests.dbt.rule_cases import CASE_SITES

HOSTILE_SITES = {
    "moscow": ("Europe/Moscow", ["shop.ru"]),
    "york": ("America/New_York", ["shop.ru", "www.other.com"]),
    "nowhere": ("No/Such_Zone", []),
    "tokyo": ("Asia/Tokyo", ["shop.ru"]),
}
# On this site, all events may have a campaign, and purchases may come without a session.
UNTIDY_SITE = "tokyo"
# The site of the real log, a site whose visitors share identifiers, and a site with one visit for each channel case.
LOG_SITE, CROWDED_SITE, CHANNEL_SITE = "blog", "crowded", "channels"
# A site whose visitors share devices and accounts.
SHARED_DEVICES_SITE = "shared-devices"
SITES: dict[str, tuple[str, list[str]]] = {
    **CASE_SITES,
    **HOSTILE_SITES,
    LOG_SITE: ("America/Los_Angeles", ["semicomplete.com"]),
    CROWDED_SITE: ("UTC", ["shop.ru"]),
    CHANNEL_SITE: ("UTC", ["shop.ru"]),
    SHARED_DEVICES_SITE: ("UTC", ["shop.ru"]),
}
# Sites that the models must treat as the oracle does. The hand-made cases (`test_rules.py`) and the channel cases
# (`test_channels.py`) have tests of their own.
TIDY_SITES = [*(site for site in HOSTILE_SITES if site != UNTIDY_SITE), LOG_SITE, CROWDED_SITE]
WRONG_CLOCK = "wrong clock"
# The value of the dbt variable `identifier_visitor_bound`.
BOUND = 25
# The period includes the end of a month and the end of summer time in New York on 1 November.
BEGIN = datetime(2026, 10, 2, 12, tzinfo=UTC)
DAYS = 40
HOSTS = [None, None, "shop.ru", "blog.shop.ru", "other.com", "ya.ru", "vk.com", "pay.yookassa.ru"]
CAMPAIGNS = [(None, None), (None, None), ("mail", "email"), ("yandex", "cpc"), ("vk", None)]
TYPES = ["page_view"] * 5 + ["click", "scroll", "page_leave", "page_leave", "web_vitals", "add_to_cart", "form_start"]
TYPES += ["form_abandon", "form_submit", "purchase", "refund", "signup", "custom thing"]
GAPS = [0, 0, 5, 60, 600, 1799.999, 1800, 1800.001, 4000, 30_000]


def _uuid(rng: random.Random) -> UUID:
    return UUID(int=rng.getrandbits(128))


def _payload(rng: random.Random, event_type: str, view: str | None) -> dict[str, Any]:
    payload: dict[str, Any] = {} if view is None else {"page_view_id": view}
    if event_type == "click":
        payload["click"] = {"x": 1, "y": 2, "button": 0}
    if event_type == "scroll":
        payload["scroll"] = {"scrollPercent": rng.randint(0, 100)}
    if event_type == "page_leave":
        payload["timing"] = {"timeOnPage": rng.randint(0, 900) / 10, "engagedTime": rng.randint(0, 600) / 10}
        payload["scroll"] = rng.choice([{"scrollPercent": rng.randint(-20, 400)}, {"scrollPercent": "deep"}, "no"])
    if event_type.startswith("form"):
        payload["form"] = {"id": "form1"} | ({"tranid": f"77:{rng.randint(1, 40)}"} if rng.random() < 0.5 else {})
    if event_type == "purchase":
        payload["order"] = {"id": f"o{rng.randint(1, 60)}", "amount": rng.randint(0, 900), "currency": "rub"}
    if event_type == "refund":
        payload["order"] = {"id": f"o{rng.randint(1, 60)}"} | rng.choice([{}, {"amount": rng.randint(1, 300)}])
    return payload


def hostile_events(seed: int, visits: int) -> list[dict[str, Any]]:
    """Return rows of public.events for `visits` random visits, in random order."""
    rng = random.Random(seed)
    of_addresses = random.Random(seed)
    events: list[dict[str, Any]] = []
    shared = [_uuid(rng) for _ in range(4)]
    for _ in range(visits):
        site = rng.choice(list(HOSTILE_SITES))
        user = rng.choice([None, *[f"visitor {number}" for number in range(12)]])
        session = rng.choice([None, rng.choice(shared), *[_uuid(rng) for _ in range(4)]])
        at = BEGIN + timedelta(seconds=rng.randint(0, DAYS * 86_400))
        view = None
        for _ in range(rng.randint(1, 9)):
            at += timedelta(seconds=rng.choice(GAPS))
            event_type = rng.choice(TYPES)
            if event_type == "page_view":
                view = rng.choice([None, str(_uuid(rng))])
            source = "webhook" if event_type in ("form_submit", "purchase") and rng.random() < 0.3 else "api"
            campaign = rng.choice(CAMPAIGNS)
            delay = timedelta(seconds=rng.choice([0.2, 3, 59, 7_200, 90_000, 900_000]))
            skew = timedelta(seconds=rng.choice([0, 0, 0, 30, -30, 5_000, -5_000, -200_000, 80_000]))
            event = {
                "event_id": _uuid(rng),
                "site_id": site,
                "user_id": user,
                "session_id": None if source == "webhook" else session,
                "event_type": event_type,
                "source": source,
                "is_bot": rng.random() < 0.05,
                "client_created_at": at + skew if rng.random() < 0.95 else None,
                "sent_at": at + delay + skew if rng.random() < 0.9 else None,
                "received_at": at + delay,
                "page_host": "shop.ru",
                "page_path": rng.choice(["/", "/catalogue", "/product/1", "/cart"]),
                "referrer_host": rng.choice(HOSTS) if rng.random() < 0.3 else None,
                "utm_source": campaign[0] if rng.random() < 0.3 else None,
                "utm_medium": campaign[1] if rng.random() < 0.3 else None,
                "payload": _payload(rng, event_type, view),
            }
            if event_type in ("form_submit", "custom thing") and of_addresses.random() < 0.3:
                event["payload"]["identity"] = {"email_sha256": f"address {of_addresses.randint(1, 60)}"}
            if event_type == "web_vitals" and len(events) % 2:
                event |= {
                    "event_type": "refund",
                    "payload": event["payload"] | {"order": {"id": f"o{len(events) % 60}"}},
                }
            event["created_at"] = event["client_created_at"] or event["received_at"]
            if site != UNTIDY_SITE:
                if event_type != "page_view":
                    event |= {"utm_source": None, "utm_medium": None}
                if event_type == "purchase" and source == "api" and session is None:
                    event["session_id"] = shared[0]
            events.append(event)
            if rng.random() < 0.06:  # a duplicate with another time
                later = timedelta(seconds=rng.choice([1, 4_000]))
                events.append(
                    event | {"created_at": event["created_at"] + later, "received_at": event["received_at"] + later}
                )
    rng.shuffle(events)
    return events


def crowded_events() -> list[dict[str, Any]]:
    """Return events with identifiers that BOUND visitors share, and that BOUND + 1 visitors share.

    Each visitor, named `<kind> <visitors> <number>`, sends the identifier twice. Orders and transactions also arrive by
    a webhook, which counts as one of the visitors.
    """
    rng = random.Random(1)
    payloads: dict[str, tuple[str, dict[str, Any]]] = {
        "external": ("identify", {"identity": {"external_id": "{}"}}),
        "email": ("form_submit", {"form": {"id": "f"}, "identity": {"email_sha256": "{}"}}),
        "order": ("purchase", {"order": {"id": "{}", "amount": 5, "currency": "RUB"}}),
        "transaction": ("form_submit", {"form": {"id": "f", "tranid": "{}"}}),
    }
    events: list[dict[str, Any]] = []
    for kind, (event_type, payload) in payloads.items():
        for visitors in (BOUND, BOUND + 1):
            body = json.loads(json.dumps(payload).replace("{}", f"{kind} {visitors}"))
            has_webhook = kind in ("order", "transaction")
            users = [f"{kind} {visitors} {number}" for number in range(visitors - has_webhook)]
            for number, user in enumerate([*users, *users, *([None] if has_webhook else [])]):
                at = BEGIN + timedelta(minutes=number)
                session = None if user is None else UUID(bytes=hashlib.md5(user.encode()).digest())
                events.append(
                    {
                        "event_id": _uuid(rng),
                        "site_id": CROWDED_SITE,
                        "user_id": user,
                        "session_id": session,
                        "event_type": event_type,
                        "source": "api" if user else "webhook",
                        "created_at": at,
                        "client_created_at": at,
                        "sent_at": at,
                        "received_at": at,
                        "page_host": "shop.ru",
                        "page_path": "/thanks",
                        "payload": body,
                    }
                )
    # An event seen at BEGIN with a clock three days behind, and sent two days later.
    seen = {"created_at": BEGIN - timedelta(days=3), "client_created_at": BEGIN - timedelta(days=3)}
    sent = {"sent_at": BEGIN - timedelta(days=1), "received_at": BEGIN + timedelta(days=2)}
    what = {"event_id": _uuid(rng), "session_id": _uuid(rng), "user_id": WRONG_CLOCK, "event_type": "page_view"}
    events.append(events[0] | seen | sent | what | {"payload": {}})
    return events


# Device, day, and the identity that the session sends, if any.
SHARED_DEVICES: list[tuple[str, int, dict[str, str]]] = [
    ("laptop", 0, {"external_id": "ann"}),
    ("telephone", 0, {"external_id": "ann"}),
    ("tablet", 0, {}),
    ("tablet", 1, {"external_id": "ann"}),
    ("bob's telephone", 0, {"external_id": "bob"}),
    ("shared computer", 0, {"external_id": "ann"}),
    ("shared computer", 1, {}),
    ("shared computer", 2, {"external_id": "bob"}),
    ("shared computer", 3, {}),
    ("shared computer", 4, {"external_id": "ann"}),
    ("laptop", 1, {"external_id": "ann", "email_sha256": "ann@example.org"}),
    ("ann's other telephone", 0, {"email_sha256": "ann@example.org"}),
    ("family, ann", 0, {"external_id": "ann", "email_sha256": "family@example.org"}),
    ("family, bob", 0, {"external_id": "bob", "email_sha256": "family@example.org"}),
    ("family, letter", 0, {"email_sha256": "family@example.org"}),
    *[("kiosk", number, {"email_sha256": f"customer {number}"}) for number in range(4)],
    *[(f"customer {number}", 0, {"email_sha256": f"customer {number}"}) for number in range(4)],
    ("nobody", 0, {}),
]


def shared_device_events() -> list[dict[str, Any]]:
    """Return one session for each row of `SHARED_DEVICES`: a page view, and a minute later the identity."""
    events: list[dict[str, Any]] = []
    for number, (device, day, identity) in enumerate(SHARED_DEVICES):
        at = BEGIN + timedelta(days=day)
        for minute, (event_type, payload) in enumerate([("page_view", {}), ("identify", {"identity": identity})]):
            moment = at + timedelta(minutes=minute)
            events.append(
                {
                    "event_id": UUID(int=2**100 + 2 * number + minute),
                    "site_id": SHARED_DEVICES_SITE,
                    "user_id": device,
                    "session_id": UUID(int=2**101 + number),
                    "event_type": event_type,
                    "source": "api",
                    "created_at": moment,
                    "client_created_at": moment,
                    "sent_at": moment,
                    "received_at": moment,
                    "page_host": "shop.ru",
                    "page_path": "/",
                    "payload": payload,
                }
            )
    return events


def of_sites(sites: list[str]) -> str:
    """Return an SQL condition on `site_id`."""
    names = ", ".join(f"'{site}'" for site in sites)
    return f"site_id in ({names})"


def insert_events(connection: psycopg.Connection, events: list[dict[str, Any]]) -> None:
    """Insert rows into public.events without the processing of the ingest API."""
    if not events:
        return
    names = list(events[0])
    statement = (
        f"insert into public.events ({', '.join(names)})"
        f" values ({', '.join(f'%({name})s' for name in names)}) on conflict do nothing"
    )
    rows = [event | {"payload": Jsonb(event["payload"])} for event in events]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def add_sites(connection: psycopg.Connection) -> None:
    """Insert the sites of `SITES`."""
    for site, (timezone, domains) in SITES.items():
        connection.execute(
            "insert into public.sites (site_id, name, domains, timezone, public_key) values (%s, %s, %s, %s, %s)",
            [site, site, domains, timezone, f"key-{site}"],
        )
