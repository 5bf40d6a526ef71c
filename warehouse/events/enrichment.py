"""What is read out of an event's user agent, addresses and URLs, once, on its way in."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import ua_parser

from warehouse.events.schema import MAX_TEXT, MAX_URL, MAX_UTM, Event, Row

UTM_FIELDS = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")

# ua-parser knows many crawlers by name; these words mark the others, command-line clients and headless browsers.
# (Cubot makes phones.)
_BOT_WORDS = re.compile(
    r"(?<!cu)bot\b|bot[/_-]|crawl|spider|slurp|scrap|archiver|transcoder|headless|phantomjs|lighthouse|pagespeed|pingdom|uptime"
    r"|monitor|validator|feed|rss|fetch|preview|facebookexternalhit|whatsapp/|curl/|wget/|python-|python/|java/|libwww|perl/"
    r"|go-http-client|okhttp|httpclient|http_client|axios/|node-fetch|guzzle|ruby|apache-|check_http|scanner|nikto",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|android(?!.*mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|android|phone|blackberry|opera mini|symbian|midp", re.IGNORECASE)
_TELEVISION = re.compile(r"smart-?tv|hbbtv|appletv|googletv|tizen.*tv|webos.*tv|\bbravia\b|roku", re.IGNORECASE)
_UNWANTED = re.compile(r"[\x00-\x1f\x7f]+")


class Agent(NamedTuple):
    """What a user agent says: `device_type` is desktop, mobile, tablet, tv or bot."""

    device_type: str | None
    browser: str | None
    os: str | None
    is_bot: bool


class Page(NamedTuple):
    """Parts of a URL: host in lower case without `www.`, path without query, campaign by field name."""

    host: str | None
    path: str | None
    campaign: dict[str, str]


@lru_cache(maxsize=20_000)
def parse_user_agent(user_agent: str | None) -> Agent:
    """Read a user agent string (regexes of the uap-core project). No string says nothing."""
    if not user_agent:
        return Agent(None, None, None, is_bot=False)
    found = ua_parser.parse(user_agent)
    is_bot = bool(found.device and found.device.family == "Spider") or _BOT_WORDS.search(user_agent) is not None
    return Agent(
        "bot" if is_bot else _device_type(user_agent),
        found.user_agent.family[:128] if found.user_agent else None,
        found.os.family[:128] if found.os else None,
        is_bot,
    )


def _device_type(user_agent: str) -> str:
    if _TELEVISION.search(user_agent):
        return "tv"
    if _TABLET.search(user_agent):
        return "tablet"
    return "mobile" if _MOBILE.search(user_agent) else "desktop"


@lru_cache(maxsize=50_000)
def parse_url(url: str | None) -> Page:
    """Split an absolute URL. What is no URL gives neither host nor path, and never an error."""
    if not url:
        return Page(None, None, {})
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removeprefix("www.") or None
    except ValueError:
        return Page(None, None, {})
    campaign: dict[str, str] = {}
    if "utm_" in parts.query.lower():
        try:
            pairs = parse_qsl(parts.query, max_num_fields=200)
        except ValueError:
            pairs = []
        for name, value in pairs:
            field = name.lower()
            text = clean(value, MAX_UTM)
            if field in UTM_FIELDS and field not in campaign and text:
                campaign[field] = text
    path = clean(unquote(parts.path), MAX_URL) or ("/" if host else None)
    return Page(host[:255] if host else None, path, campaign)


@lru_cache(maxsize=50_000)
def truncate_address(address: str | None) -> str | None:
    """The network of an address: /24 for IPv4, /48 for IPv6. What is no address gives None."""
    if not address:
        return None
    try:
        parsed = ipaddress.ip_address(address.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


def clean(text: str | None, most: int) -> str | None:
    """A descriptive text without control characters, at most `most` characters; None if nothing is left."""
    if not text:
        return None
    if not text.isprintable():
        text = _UNWANTED.sub(" ", text).encode("utf-8", "replace").decode()
    return text[:most].strip() or None


def make_row(event: Event, *, site_id: str, source: str, address: str | None, user_agent: str | None) -> Row:
    """Turn a valid event into the row that is landed.

    Args:
        event: What `validation` let through.
        site_id: The site that the key named.
        source: The path into the platform (column `source`).
        address: The sender's full IP address; only its network is kept.
        user_agent: The sender's user agent, if it is a browser's.
    """
    agent = parse_user_agent(user_agent)
    page = parse_url(event.page_url)
    row = Row(
        site_id=site_id,
        source=source,
        event_id=event.event_id,
        event_type=event.event_type,
        client_created_at=event.created_at,
        session_id=event.session_id,
        user_id=event.user_id,
        is_bot=agent.is_bot,
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
    _set_campaign(row, page.campaign, event.payload)
    return row


def _set_campaign(row: Row, of_url: dict[str, str], payload: dict[str, object] | None) -> None:
    """The campaign of an event: what the collector read at the session's start, else what the URL says."""
    section = payload.get("utm") if payload else None
    if isinstance(section, dict):
        for field in UTM_FIELDS:
            value = section.get(field.removeprefix("utm_"))
            if isinstance(value, str):
                setattr(row, field, clean(value, MAX_UTM))
    elif of_url:
        for field, value in of_url.items():
            setattr(row, field, value)
