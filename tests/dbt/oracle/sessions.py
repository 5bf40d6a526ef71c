"""Sessions, visits and their sources, computed event by event from the stored events.

The rules:

- A session ends after 30 minutes without activity. A new one starts in a new tab (another client session), at a page
  view with another campaign, and at another external referrer. Passive events, webhooks and server-side orders neither
  start nor extend a session.
- A visit is the same without the rule of the tab.
- The first event of a session decides its source. A session without a source of its own that begins on a page opened
  from the site or a payment page, within 30 minutes of the visitor's activity in another session, has the source of
  that session.
- A server-side event (a webhook, or a form, sign-up, purchase, refund or identity without a client session) belongs to
  the visitor's latest session of the 90 days before it.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pandas as pd

from tests.dbt.dbt_project import PROJECT
from tests.dbt.events import SITES
from tests.dbt.oracle.channels import Origin, channel

RANK = {
    "page_view": 0,
    "add_to_cart": 2,
    "form_start": 3,
    "form_submit": 4,
    "signup": 5,
    "purchase": 6,
    "page_leave": 7,
}
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
IDLE = timedelta(minutes=30)
ATTRIBUTION_WINDOW = timedelta(days=90)
PASSIVE = ("page_leave", "web_vitals", "form_abandon", "refund")
OUTCOMES = ("identify", "form_submit", "signup", "purchase", "refund")

Event = dict[str, Any]


def zone(site: str) -> ZoneInfo:
    """Return the time zone of a site, UTC if its setting is not a time zone."""
    return ZoneInfo("UTC" if site == "nowhere" else SITES[site][0])


def prepare(rows: Iterable[Mapping[str, Any]], domains: Mapping[str, list[str]] | None = None) -> list[Event]:
    """Turn stored rows into events in order of time: correct clocks, and remove bots and duplicates.

    Args:
        rows: Rows of public.events.
        domains: The domains of each site; those of `SITES` by default.

    Adds `at` (the corrected time), `user` (the visitor), `active`, `campaign`, `referrer` (if external), `is_internal`
    (the referrer is a page of the site), `order` (a sort key) and `session` (None).
    """
    excluded = _excluded()
    domains = domains or {site: names for site, (_, names) in SITES.items()}
    copies: dict[tuple[str, UUID], Event] = {}
    for row in rows:
        if row["is_bot"]:
            continue
        at = row["client_created_at"] if row["sent_at"] and row["client_created_at"] else row["created_at"]
        skew = row["received_at"] - row["sent_at"] if row["sent_at"] else timedelta()
        at += skew if abs(skew) > timedelta(seconds=60) else timedelta()
        host = row["referrer_host"]
        own = [row["page_host"]] if host == row["page_host"] else domains[row["site_id"]]
        is_own = host is not None and any(_within(host, domain) for domain in own)
        is_payment = host is not None and any(_within(host, domain) for domain in excluded)
        is_server_side = row["session_id"] is None and (row["source"] == "webhook" or row["event_type"] in OUTCOMES)
        campaign = tuple(row[name] for name in UTM)
        event = dict(row) | {
            "at": min(row["received_at"], at),
            "user": row["user_id"] or f"anonymous:{row['session_id'] or row['event_id']}",
            "active": row["event_type"] not in PASSIVE and row["source"] != "webhook" and not is_server_side,
            "is_server_side": is_server_side,
            "campaign": campaign if row["event_type"] == "page_view" and any(campaign) else None,
            "referrer": None if is_own or is_payment else host,
            "is_internal": is_own or is_payment,
            "session": None,
        }
        event["order"] = (event["at"], RANK.get(event["event_type"], 1), event["event_id"])
        key = (event["site_id"], event["event_id"])
        if key not in copies or (event["received_at"], event["created_at"]) < (
            copies[key]["received_at"],
            copies[key]["created_at"],
        ):
            copies[key] = event
    return sorted(copies.values(), key=lambda event: event["order"])


def sessionise(events: list[Event]) -> list[list[Event]]:
    """Return each session as a list of its events in order, and set `session`, the session ID, of each event.

    The first event of a session has `inherits`: the first event of the session whose source it has, or None.
    """
    sessions: list[list[Event]] = []
    streams: dict[tuple[str, str, UUID | None], list[Event]] = {}
    last_active: dict[tuple[str, str, UUID | None], Any] = {}
    newest: dict[tuple[str, str], tuple[Any, list[Event]]] = {}
    for event in events:
        visitor = (event["site_id"], event["user"])
        if event["is_server_side"]:
            known = newest.get(visitor)
            if known and event["at"] - known[0] <= ATTRIBUTION_WINDOW:
                known[1].append(event)
            continue
        stream = (*visitor, event["session_id"])
        current = streams.get(stream)
        if event["active"]:
            if current is None or _begins(event, current[0], last_active[stream]):
                known = newest.get(visitor)
                current = streams[stream] = []
                event["inherits"] = _inherited(event, known)
                sessions.append(current)
            last_active[stream] = event["at"]
            newest[visitor] = (event["at"], current)
        if current is not None:
            current.append(event)
    _name(sessions)
    return sessions


def visits(events: list[Event]) -> list[list[Event]]:
    """Return each visit as a list of its active events: sessions without the rule of the tab."""
    found: list[list[Event]] = []
    current: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if not event["active"]:
            continue
        visitor = (event["site_id"], event["user"])
        visit = current.get(visitor)
        if visit is None or _begins(event, visit[0], visit[-1]["at"]):
            visit = current[visitor] = []
            found.append(visit)
        visit.append(event)
    return found


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
            "is_new_visitor": first["user_id"] is not None and visitor not in seen,
            "session_date": first["at"].astimezone(zone(first["site_id"])).date(),
        }
        seen.add(visitor)
    return rows


def source_rows(sessions: list[list[Event]]) -> dict[tuple[str, UUID], dict[str, str | None]]:
    """Return the expected source of each session, by site and session ID."""
    return {
        (session[0]["site_id"], session[0]["session"]): {
            "referrer_domain": origin["referrer"],
            "utm_source": origin["utm_source"],
            "utm_medium": origin["utm_medium"],
            "channel": channel(_origin(origin)),
        }
        for session in sessions
        for origin in [session[0]["inherits"] or session[0]]
    }


def daily_rows(sessions: list[list[Event]]) -> dict[tuple[str, Any], dict[str, int]]:
    """Return the numbers of sessions, page views and visitors with an ID, by site and day."""
    facts: list[dict[str, Any]] = []
    for session in sessions:
        for number, event in enumerate(session):
            is_view = event["event_type"] == "page_view" and event["active"]
            if number == 0 or is_view:
                facts.append(
                    {
                        "site": event["site_id"],
                        "day": event["at"].astimezone(zone(event["site_id"])).date(),
                        "sessions": int(number == 0),
                        "page_views": int(is_view),
                        "user": event["user_id"],
                    }
                )
    if not facts:
        return {}
    by_day = pd.DataFrame(facts).groupby(["site", "day"])
    totals = by_day[["sessions", "page_views"]].sum().assign(visitors=by_day["user"].nunique())
    return {key: row for key, row in zip(totals.index, totals.to_dict("records"), strict=True)}  # noqa: C416


def _begins(event: Event, source: Event, last_active: Any) -> bool:
    """Return whether an active event ends the session or visit with the given source and latest activity."""
    return bool(
        event["at"] - last_active > IDLE
        or (event["campaign"] and event["campaign"] != source["campaign"])
        or (event["referrer"] and event["referrer"] != source["referrer"])
    )


def _inherited(event: Event, known: tuple[Any, list[Event]] | None) -> Event | None:
    """Return the event whose source a new session has in place of its own, or None."""
    has_own = any(event[name] for name in UTM) or event["referrer"] or event.get("click_ids")
    if has_own or not event["is_internal"] or not known or event["at"] - known[0] > IDLE:
        return None
    first = known[1][0]
    return first["inherits"] or first


def _origin(event: Event) -> Origin:
    click_ids = tuple(event.get("click_ids") or ()) if event["event_type"] == "page_view" else ()
    utm = (event["utm_source"], event["utm_medium"], event["utm_campaign"])
    return Origin(*utm, referrer=event["referrer"], click_ids=click_ids)


def _name(sessions: list[list[Event]]) -> None:
    """Set the session ID of each event: the client's for the first session of a client session, else a derived one."""
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


def _excluded() -> list[str]:
    with (PROJECT / "seeds" / "referrer_exclusions.csv").open(encoding="utf-8") as seed:
        return [row["domain"] for row in csv.DictReader(seed)]


def _within(host: str, domain: str) -> bool:
    return f".{host}".endswith(f".{domain.removeprefix('www.')}")
