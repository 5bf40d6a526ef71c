"""An independent computation of sessions, page views and daily totals in Python, from the stored events."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from tests.dbt.dbt_project import PROJECT
from tests.dbt.events import SITES

RANK = {
    "page_view": 0,
    "add_to_cart": 2,
    "form_start": 3,
    "form_submit": 4,
    "signup": 5,
    "purchase": 6,
    "page_leave": 7,
}
IDLE = timedelta(minutes=30)
# The value of the dbt variable `attribution_days`.
ATTRIBUTION = timedelta(days=90)
PASSIVE = ("page_leave", "web_vitals", "form_abandon")
OUTCOMES = ("identify", "form_submit", "signup", "purchase", "refund")

Event = dict[str, Any]


def _zone(site: str) -> ZoneInfo:
    return ZoneInfo("UTC" if site == "nowhere" else SITES[site][0])


def _excluded() -> list[str]:
    with (PROJECT / "seeds" / "referrer_exclusions.csv").open(encoding="utf-8") as seed:
        return [row["domain"] for row in csv.DictReader(seed)]


def _within(host: str, domain: str) -> bool:
    return f".{host}".endswith(f".{domain.removeprefix('www.')}")


def prepare(rows: list[Event]) -> list[Event]:
    """Turn stored rows into modelled events: correct clocks, and remove bots and duplicates."""
    excluded = _excluded()
    copies: dict[tuple[str, UUID], Event] = {}
    for row in rows:
        if row["is_bot"]:
            continue
        at = row["client_created_at"] if row["sent_at"] and row["client_created_at"] else row["created_at"]
        skew = row["received_at"] - row["sent_at"] if row["sent_at"] else timedelta()
        at += skew if abs(skew) > timedelta(seconds=60) else timedelta()
        host = row["referrer_host"]
        internal = [row["page_host"]] if host == row["page_host"] else SITES[row["site_id"]][1]
        # sent by a server, which has no session
        detached = row["session_id"] is None and (row["source"] == "webhook" or row["event_type"] in OUTCOMES)
        event = row | {
            "at": min(row["received_at"], at),
            "user": row["user_id"] or f"anonymous:{row['session_id'] or row['event_id']}",
            "detached": detached,
            "active": row["event_type"] not in PASSIVE and row["source"] != "webhook" and not detached,
            "campaign": (row["utm_source"], row["utm_medium"]) if row["utm_source"] or row["utm_medium"] else None,
            "referrer": None if host is None or any(_within(host, d) for d in internal + excluded) else host,
        }
        event["order"] = (event["at"], RANK.get(event["event_type"], 1), event["event_id"])
        event["session"] = None
        key = (event["site_id"], event["event_id"])
        if key not in copies or (event["received_at"], event["created_at"]) < (
            copies[key]["received_at"],
            copies[key]["created_at"],
        ):
            copies[key] = event
    return sorted(copies.values(), key=lambda event: event["order"])


def sessionise(events: list[Event]) -> list[list[Event]]:
    """Apply the session rules event by event. Return each session as a list of events in order.

    The first event of a session gets `source` (the first event of the session whose source it has) and `visit` (the
    first event of its visit).
    """
    sessions: list[list[Event]] = []
    streams: dict[tuple[str, str, UUID | None], list[Event]] = {}
    last_active: dict[tuple[str, str, UUID | None], Any] = {}
    newest: dict[tuple[str, str], tuple[Any, list[Event]]] = {}
    visits: dict[tuple[str, str], Event] = {}
    for event in events:
        visitor = (event["site_id"], event["user"])
        known = newest.get(visitor)
        if event["detached"]:
            if known and event["at"] - known[0] <= ATTRIBUTION:
                known[1].append(event)
            continue
        stream = (*visitor, event["session_id"])
        current = streams.get(stream)
        if event["active"]:
            if (
                current is None
                or event["at"] - last_active[stream] > IDLE
                or (
                    event["event_type"] == "page_view"
                    and event["campaign"]
                    and event["campaign"] != current[0]["campaign"]
                )
                or (event["referrer"] and event["referrer"] != current[0]["referrer"])
            ):
                former = known[1] if known and event["at"] - known[0] <= IDLE else None
                event["source"], event["visit"] = _source(event, former), _visit(event, former, visits.get(visitor))
                visits[visitor] = event["visit"]
                current = streams[stream] = []
                sessions.append(current)
            last_active[stream] = event["at"]
            newest[visitor] = (event["at"], current)
        if current is not None:
            current.append(event)
    taken: set[tuple[str, UUID]] = set()
    for session in sorted(sessions, key=lambda session: session[0]["order"]):
        first = session[0]
        own = (first["site_id"], first["session_id"])
        if first["session_id"] and own not in taken:
            taken.add(own)
            session_id = first["session_id"]
        else:
            namespace = UUID(hashlib.md5(f"{first['site_id']}\x1f{first['user']}".encode()).hexdigest())
            session_id = uuid5(namespace, str(first["event_id"]))
        for event in session:
            event["session"] = session_id
    return sessions


def _source(first: Event, former: list[Event] | None) -> Event:
    """Return the first event of the session that gives a new session its source: its own, or that of `former`."""
    click_ids = first["click_ids"] or (first["payload"] or {}).get("click_ids")
    has_source = first["campaign"] or first["referrer"] or (click_ids and first["event_type"] == "page_view")
    is_internal = first["referrer_host"] is not None and first["referrer"] is None
    return former[0]["source"] if former and is_internal and not has_source else first


def _visit(first: Event, former: list[Event] | None, visit: Event | None) -> Event:
    """Return the first event of the visit of a new session. `visit` keeps the latest campaign and referrer."""
    is_other = (
        former is not None
        and visit is not None
        and any(first[name] and first[name] != visit["latest"][name] for name in ("campaign", "referrer"))
    )
    if former is None or visit is None or is_other:
        first["latest"] = first
        return first
    if first["campaign"] or first["referrer"]:
        visit["latest"] = first
    return visit


def session_rows(sessions: list[list[Event]]) -> dict[tuple[str, UUID], Event]:
    """Return expected rows of `marts.sessions` with some of its columns, by site and session ID."""
    seen: set[tuple[str, str]] = set()
    rows: dict[tuple[str, UUID], Event] = {}
    for session in sorted(sessions, key=lambda session: (session[0]["at"], session[0]["session"])):
        first = session[0]
        views = [event["page_path"] for event in session if event["event_type"] == "page_view" and event["active"]]
        visitor = (first["site_id"], first["user"])
        rows[first["site_id"], first["session"]] = {
            "user_id": first["user"],
            "client_session_id": first["session_id"],
            "started_at": first["at"],
            "ended_at": max(event["at"] for event in session if event["active"]),
            "event_count": len(session),
            "page_views": len(views),
            "landing_page": views[0] if views else None,
            "exit_page": views[-1] if views else None,
            "referrer_domain": first["source"]["referrer"],
            "utm_source": first["source"]["utm_source"],
            "utm_medium": first["source"]["utm_medium"],
            "is_source_inherited": first["source"] is not first,
            "visit_id": first["visit"]["session"],
            "is_visit_start": first["visit"] is first,
            "is_anonymous": first["user_id"] is None,
            "is_new_visitor": first["user_id"] is not None and visitor not in seen,
            "session_date": first["at"].astimezone(_zone(first["site_id"])).date(),
        }
        seen.add(visitor)
    return rows


def daily_rows(sessions: list[list[Event]]) -> dict[tuple[str, Any], dict[str, int]]:
    """Return the numbers of sessions, visits, page views and visitors with an ID, by site and day."""
    counts: dict[tuple[str, Any], dict[str, Any]] = defaultdict(
        lambda: {"sessions": 0, "visits": 0, "page_views": 0, "visitors": set()}
    )
    for session in sessions:
        site = session[0]["site_id"]
        day = counts[site, session[0]["at"].astimezone(_zone(site)).date()]
        day["sessions"] += 1
        day["visits"] += session[0]["visit"] is session[0]
        day["visitors"] |= {session[0]["user_id"]} - {None}
        for event in session:
            if event["event_type"] == "page_view" and event["active"]:
                day = counts[site, event["at"].astimezone(_zone(site)).date()]
                day["page_views"] += 1
                day["visitors"] |= {event["user_id"]} - {None}
    return {key: day | {"visitors": len(day["visitors"])} for key, day in counts.items()}
