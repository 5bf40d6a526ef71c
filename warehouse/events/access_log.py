"""Web server logs: reads lines of Apache and nginx, and converts requests for pages into page views.

The supported formats are Apache's "common", "combined" and "vhost_combined" (with the virtual host in front) and
nginx's default, which is "combined". Additional columns at the end are ignored.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from urllib.parse import urlsplit

from warehouse.events.enrichment import make_row
from warehouse.events.ids import uuid_of
from warehouse.events.schema import EARLIEST_TIME, LATEST_TIME, Event, Row
from warehouse.sites.registry import Site

SOURCE = "access-log"

UNREADABLE = "unreadable"
NOT_GET = "not_get"
REDIRECT = "redirect"
ERROR_STATUS = "error_status"
NO_PAGE = "no_page"
STATIC_FILE = "static_file"
OTHER_HOST = "other_host"

# Statuses with which a page is shown: sent by the server (200, 203) or taken from the browser's cache (304). The others
# below 300 have no page or only a part of a file.
_PAGE_STATUSES = frozenset({200, 203, 304})

# Extensions of files that are not pages: assets, downloads and files for programs.
_STATIC = """
    css js mjs map json webmanifest wasm woff woff2 ttf otf eot
    png jpg jpeg jpe gif webp avif svg svgz ico cur bmp tif tiff psd
    mp3 m4a aac ogg oga opus wav flac mid mp4 m4v webm ogv avi mov mpg mpeg wmv flv swf m3u8 ts
    pdf ps eps tex doc docx odt rtf xls xlsx ods csv tsv ppt pptx odp epub mobi djvu
    zip gz tgz bz2 tbz xz zst lz4 7z rar tar jar war exe msi dmg iso img bin deb rpm apk gem whl pkg
    pcap log conf cfg ini sh bat c h cc cpp java go rs diff patch spec vim lua pyc sql
    txt xml xsl xsd rss atom ics yml yaml md asc sig pem
"""
STATIC_EXTENSIONS = frozenset(_STATIC.split())

_LINE = re.compile(  # quoted fields use possessive quantifiers, so that no line causes long backtracking
    # the first column is a virtual host only if the second one is an address
    r"(?:(?P<vhost>[^\s\",]+) (?=(?:\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+) ))?"
    r"(?P<address>[^\s\"]+) .*?"  # then ident and user; a user's name may contain spaces
    r"\[(?P<day>\d\d/[A-Z][a-z]{2}/\d{4}):(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) (?P<zone>[+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]++|\\.)*+)" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referrer>(?:[^"\\]++|\\.)*+)" "(?P<agent>(?:[^"\\]++|\\.)*+)(?:"|$))?(?:\s|$)'  # may be truncated
)
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"v": b"\v", b"f": b"\f"}

# Identical lines get different ordinals. Such lines are close to each other, because they have the same second.
# Therefore, and to bound memory, only the ordinals of at least this many page requests are kept.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a log.

    Attributes:
        vhost: Virtual host at the beginning of the line, with its port; None without one.
        address: The client's IP address.
        at: Time of the request.
        method: HTTP method.
        target: The request's target: a path or an absolute URL.
        status: HTTP status.
        referrer: The `Referer` header; None if it was not sent.
        user_agent: None if the format has no such column; "" if the client sent no `User-Agent`.
    """

    vhost: str | None
    address: str | None
    at: datetime
    method: str
    target: str
    status: int
    referrer: str | None
    user_agent: str | None


def parse_line(line: str) -> Request | None:
    """Parse a line; None if it is in none of the supported formats."""
    found = _LINE.match(line)
    if found is None:
        return None
    at = _time(*found.group("day", "hour", "minute", "second", "zone"))
    # nginx does not escape spaces in a target (GET /a b HTTP/1.1). HTTP/0.9 has no version.
    method, _, rest = _text(found["request"]).partition(" ")
    target, _, version = rest.rpartition(" ")
    if not version.startswith("HTTP/"):
        target = rest
    if at is None or not target or not method.isalpha():
        return None
    agent = found["agent"]
    return Request(
        vhost=found["vhost"],
        address=_unless_dash(found["address"].rstrip(",")),
        at=at,
        method=method,
        target=target,
        status=int(found["status"]),
        referrer=_unless_dash(_text(found["referrer"] or "")),
        user_agent=None if agent is None else _unless_dash(_text(agent)) or "",
    )


class AccessLog:
    """Converts the lines of one log into rows. Pass all lines in order, from the first.

    Args:
        site: The site of the log.
        hash_key: Key of the HMAC that makes visitor IDs from IP addresses and user agents.
    """

    def __init__(self, site: Site, hash_key: str) -> None:
        self._site = site
        self._key = hash_key.encode()
        self._ordinals: dict[bytes, int] = {}
        self._older_ordinals: dict[bytes, int] = {}

    def row(self, line: bytes) -> Row | str:
        """Return the page view of a line, or the reason why the line is skipped."""
        request = parse_line(line.decode(errors="replace"))
        if request is None:
            return UNREADABLE
        reason = _no_page_view(request)
        if reason is not None:
            return reason
        page_url = self._page_url(request)
        if page_url is None:
            return OTHER_HOST
        event = Event(
            event_id=uuid_of("line", self._site.site_id, str(self._ordinal(line)).encode(), line),
            event_type="page_view",
            created_at=request.at,
            user_id=self._visitor(request),
            page_url=page_url,
            referrer=request.referrer,
        )
        row = make_row(
            event,
            site_id=self._site.site_id,
            source=SOURCE,
            address=request.address,
            user_agent=request.user_agent,
        )
        row.arrived_at = request.at
        if request.user_agent == "":  # every browser sends a User-Agent
            row.is_bot, row.device_type = True, "bot"
        return row

    def _page_url(self, request: Request) -> str | None:
        """Return the page's absolute URL; None for another site (other virtual hosts, attempts to use a proxy)."""
        target, domains = request.target, self._site.domains
        if not target.startswith("/"):
            return target if _covers(domains, _host_of(target)) else None
        if request.vhost is None:
            return f"https://{domains[0]}{target}"
        host, _, port = request.vhost.rpartition(":") if ":" in request.vhost else (request.vhost, "", "")
        if not _covers(domains, host.lower()):
            return None
        return f"{'http' if port == '80' else 'https'}://{host.lower()}{target}"

    def _visitor(self, request: Request) -> str | None:
        """Return the visitor ID: the first 128 bits of HMAC-SHA256 of site, IP address and user agent.

        Without the key, nobody can find the address by trying all addresses.
        """
        if request.address is None:
            return None
        text = "\0".join((self._site.site_id, request.address, request.user_agent or ""))
        return hmac.digest(self._key, text.encode(), "sha256").hex()[:32]

    def _ordinal(self, line: bytes) -> int:
        """Return the number of identical lines before this one."""
        ordinal = self._ordinals.get(line, self._older_ordinals.get(line, -1)) + 1
        if len(self._ordinals) >= _REMEMBERED:
            self._ordinals, self._older_ordinals = {}, self._ordinals
        self._ordinals[line] = ordinal
        return ordinal


def _no_page_view(request: Request) -> str | None:
    """Return the reason why a request is not a page view; None if it is one."""
    if request.method != "GET":
        return NOT_GET
    if request.status >= 400:
        return ERROR_STATUS
    if request.status not in _PAGE_STATUSES:
        return REDIRECT if request.status >= 300 else NO_PAGE
    path = re.split(r"[?#]", request.target, maxsplit=1)[0]
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return STATIC_FILE if dot and extension.lower() in STATIC_EXTENSIONS else None


def _covers(domains: list[str], host: str | None) -> bool:
    return host is not None and any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _host_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} else None


def _unless_dash(text: str) -> str | None:
    return None if text in {"", "-"} else text


def _text(field: str) -> str:
    r"""Decode the escapes of a quoted field: `\"` and `\\` of Apache, `\xhh` of Apache and nginx."""
    if "\\" not in field:
        return field
    return _ESCAPE.sub(_unescape, field.encode()).decode(errors="replace")


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes.fromhex(code[1:].decode()) if len(code) == 3 else _CONTROL.get(code, code)


@lru_cache(maxsize=64)
def _midnight(day: str, zone: str) -> datetime | None:
    """Return the beginning of a day of the log's time zone, in UTC; None if it is out of range."""
    try:
        sign = -1 if zone[0] == "-" else 1
        offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
        date = datetime.strptime(day, "%d/%b/%Y").replace(tzinfo=timezone(offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date if EARLIEST_TIME < date < LATEST_TIME - timedelta(days=2) else None


def _time(day: str, hour: str, minute: str, second: str, zone: str) -> datetime | None:
    midnight = _midnight(day, zone)
    hours, minutes, seconds = int(hour), int(minute), int(second)
    if midnight is None or hours > 23 or minutes > 59 or seconds > 60:  # 60: a leap second
        return None
    return midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds)
