"""Converts an event into a row: parses its URLs and user agent, and truncates its IP address."""

from __future__ import annotations

import csv
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from warehouse.events.schema import (
    MAX_CLICK_ID,
    MAX_CLICK_IDS,
    MAX_TEXT,
    MAX_URL,
    MAX_UTM,
    Event,
    Rejection,
    Row,
)
from warehouse.events.user_agents import Agent, parse_user_agent
from warehouse.kit.installation import shipped

UTM_FIELDS = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")


def _click_id_parameters() -> tuple[str, ...]:
    with (shipped("dbt_project") / "seeds" / "click_ids.csv").open(encoding="utf-8", newline="") as seed:
        return tuple(row["parameter"] for row in csv.DictReader(seed))


CLICK_IDS = _click_id_parameters()
"""Query parameters that identify a click, in lower case. The models read the same table, the dbt seed `click_ids`."""

MAX_QUERY_FIELDS = 200
"""Query parameters that are read of a URL. Further ones are ignored, which bounds the time to parse a URL."""

_UNWANTED = re.compile(r"[\x00-\x1f\x7f]+")
_HAS_SOURCE = re.compile("utm_|" + "|".join(f"{re.escape(name)}=" for name in CLICK_IDS), re.IGNORECASE)
"""Matches a query string that may contain `UTM_FIELDS` or `CLICK_IDS`. Most contain none and are not parsed."""


class Page(NamedTuple):
    """Parts of a URL: host in lower case without `www.`, path without query, UTM fields and click IDs by name."""

    host: str | None
    path: str | None
    campaign: dict[str, str]
    click_ids: dict[str, str]


def parse_url(url: str | None) -> Page:
    """Parse an absolute URL or a path. For any other text, host and path are None; there is never an error."""
    if not url:
        return Page(None, None, {}, {})
    # Long URLs are not cached, so that senders cannot fill the memory.
    return _split_cached(url) if len(url) <= 500 else _split(url[:MAX_URL])


def _split(url: str) -> Page:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").removeprefix("www.") or None
    except ValueError:
        return Page(None, None, {}, {})
    if host is None and not url.startswith("/"):
        return Page(None, None, {}, {})
    campaign: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    if _HAS_SOURCE.search(parts.query):
        fields = "&".join(parts.query.split("&", MAX_QUERY_FIELDS)[:MAX_QUERY_FIELDS])
        for name, value in parse_qsl(fields):
            field = name.lower()
            if field in UTM_FIELDS:
                found, most = campaign, MAX_UTM
            elif field in CLICK_IDS and (field in click_ids or len(click_ids) < MAX_CLICK_IDS):
                found, most = click_ids, MAX_CLICK_ID
            else:
                continue
            # The first value that is not empty counts, as in the collector.
            if field not in found and (text := clean(value, most)):
                found[field] = text
    return Page(clean(host, 255), clean(unquote(parts.path), MAX_URL) or "/", campaign, click_ids)


_split_cached = lru_cache(maxsize=50_000)(_split)


def truncate_address(address: str | None) -> str | None:
    """Return the network of an IP address: /24 for IPv4, /48 for IPv6; None if the text is not an address."""
    return _truncate(address) if address and len(address) <= 64 else None


@lru_cache(maxsize=50_000)
def _truncate(address: str) -> str | None:
    text, _, length = address.strip().partition("/")  # a network, as Postgres prints it
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(parsed, ipaddress.IPv6Address):
            # Unwrap IPv4-mapped and 6to4 addresses: a /48 of a 6to4 address would contain the full IPv4 address.
            parsed = parsed.ipv4_mapped or parsed.sixtofour or parsed
        kept = min(24 if parsed.version == 4 else 48, int(length or 128))
        return str(ipaddress.ip_network((parsed, kept), strict=False))
    except ValueError:
        return None


def clean(text: str | None, most: int) -> str | None:
    """Shorten the text to `most` code points and replace control characters by spaces; None if nothing is left.

    The text is shortened first: of a value that the collector has shortened, nothing more is removed, so both give the
    same result.
    """
    if not text:
        return None
    text = text[:most]
    if not text.isprintable():
        text = _UNWANTED.sub(" ", text).encode("utf-8", "replace").decode()
    return text.strip() or None


def make_row(
    event: Event,
    *,
    site_id: str,
    source: str,
    address: str | None,
    user_agent: str | None,
    is_bot: bool = False,
    sent_at: datetime | None = None,
    arrived_at: datetime | None = None,
    parse_agent: Callable[[str | None], Agent] = parse_user_agent,
) -> Row:
    """Convert a valid event into a row.

    Args:
        event: A valid event.
        site_id: The site's ID.
        source: Name of the endpoint or import (column `source`).
        address: The visitor's full IP address; only its network is stored.
        user_agent: The visitor's user agent.
        is_bot: True to mark the event as a bot's regardless of the user agent.
        sent_at: Time of sending by the sender's clock.
        arrived_at: Time of arrival; None for the time of insertion.
        parse_agent: Parser of user agents: `UserAgents(bot_exceptions).parse` if BOT_EXCEPTIONS is set.
    """
    agent = parse_agent(user_agent)
    page = parse_url(event.page_url)
    row = Row(
        site_id=site_id,
        source=source,
        event_id=event.event_id,
        event_type=event.event_type,
        client_created_at=event.created_at
        and event.created_at.astimezone(UTC),  # Postgres has no UTC offsets over 16 h
        sent_at=sent_at,
        arrived_at=arrived_at,
        session_id=event.session_id,
        visit_id=event.visit_id,
        tab_id=event.tab_id,
        user_id=event.user_id,
        is_bot=is_bot or agent.is_bot,
        page_url=clean(event.page_url, MAX_URL),
        page_host=page.host,
        page_path=page.path,
        page_title=clean(event.page_title, MAX_TEXT),
        referrer=clean(event.referrer, MAX_URL),
        referrer_host=parse_url(event.referrer).host,
        target_element=clean(event.target_element, MAX_TEXT),
        target_text=clean(event.target_text, MAX_TEXT),
        device_type=agent.device_type,
        browser=agent.browser,
        os=agent.os,
        ip_address=truncate_address(address),
        user_agent=clean(user_agent, MAX_TEXT),
        payload=event.payload,
    )
    payload = event.payload or {}
    _set_campaign(row, page.campaign, payload.get("utm"))
    _set_click_ids(row, page.click_ids, payload.get("click_ids"))
    return row


def make_rejected_row(rejection: Rejection, *, site_id: str, source: str, arrived_at: datetime | None = None) -> Row:
    """Make the row that stores a rejected event with its reason."""
    return Row(
        site_id=site_id,
        source=source,
        arrived_at=arrived_at,
        reject_code=rejection.code,
        reject_detail=rejection.detail,
        reject_event_id=rejection.event_id,
        reject_body=rejection.body,
    )


def _set_campaign(row: Row, of_url: dict[str, str], section: object) -> None:
    """Set the UTM fields from `payload.utm` (read at the session's start) if it has any, else from the URL."""
    campaign: dict[str, str] = {}
    if isinstance(section, dict):
        for field in UTM_FIELDS:
            value = section.get(field.removeprefix("utm_"))
            text = clean(value, MAX_UTM) if isinstance(value, str) else None
            if text:
                campaign[field] = text
    for field, text in (campaign or of_url).items():
        setattr(row, field, text)


def _set_click_ids(row: Row, of_url: dict[str, str], section: object) -> None:
    """Set the click IDs from the URL and from `payload.click_ids` (the session's), which takes precedence."""
    found: dict[str, str] = {}
    if isinstance(section, dict):
        for name in CLICK_IDS:
            value = section.get(name)
            text = clean(value, MAX_CLICK_ID) if isinstance(value, str) else None
            if text:
                found[name] = text
    merged = found | {name: text for name, text in of_url.items() if name not in found}
    row.click_ids = dict(list(merged.items())[:MAX_CLICK_IDS]) or None
