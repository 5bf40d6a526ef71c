"""Web server logs: reads the lines of Apache's and nginx's usual formats and makes page views of page requests.

Understood are Apache's "common", "combined" and "vhost_combined" (the site's name in front) and nginx's default, which
is "combined"; more columns at the end are ignored.
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

# A page was shown: sent now (200, 203), or taken from the browser's own copy (304). 204 to 206 are answers without a
# page or with a piece of a file.
_PAGE_STATUSES = frozenset({200, 203, 304})

# Kinds of files that are no pages: what pages are made of, what is downloaded, what machines read.
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

_LINE = re.compile(  # quoted fields are taken whole and not given back: no line takes long
    # a virtual host comes first only where the next column is an address
    r"(?:(?P<vhost>[^\s\",]+) (?=(?:\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+) ))?"
    r"(?P<address>[^\s\"]+) .*?"  # then ident and user; a user's name may hold spaces
    r"\[(?P<day>\d\d/[A-Z][a-z]{2}/\d{4}):(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d) (?P<zone>[+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]++|\\.)*+)" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referrer>(?:[^"\\]++|\\.)*+)" "(?P<agent>(?:[^"\\]++|\\.)*+)(?:"|$))?(?:\s|$)'  # an end may be cut
)
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_CONTROL = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"v": b"\v", b"f": b"\f"}

# Identical lines are told apart by their ordinal. They carry the same second, so they stand near each other: the
# ordinals of this many page requests are remembered at least, whatever the length of the file.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a log.

    Attributes:
        vhost: Host that the server names in front of the line, with its port.
        target: As the client sent it: a path, or a whole address.
        user_agent: None where the format has no such column; "" where the client named none.
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
    """Read a line; None for one that is not of these formats."""
    found = _LINE.match(line)
    if found is None:
        return None
    at = _time(*found.group("day", "hour", "minute", "second", "zone"))
    # GET /a b HTTP/1.1: nginx writes blanks in a target as they came. HTTP/0.9 names no version.
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
    """Makes rows of the lines of one log, from its beginning.

    Args:
        site: The site whose log it is.
        hash_key: The key of the hash that makes visitors out of addresses and user agents.
    """

    def __init__(self, site: Site, hash_key: str) -> None:
        self._site = site
        self._key = hash_key.encode()
        self._ordinals: dict[bytes, int] = {}
        self._older_ordinals: dict[bytes, int] = {}

    def row(self, line: bytes) -> Row | str:
        """The page view that a line tells of, or the reason why it is left out."""
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
        if request.user_agent == "":  # every browser names itself
            row.is_bot, row.device_type = True, "bot"
        return row

    def _page_url(self, request: Request) -> str | None:
        """The whole address of the page; None if it is not of this site (other virtual hosts, attempts to proxy)."""
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
        """HMAC-SHA256 (128 bits of it) of site, address and agent: who has no key cannot try addresses."""
        if request.address is None:
            return None
        text = "\0".join((self._site.site_id, request.address, request.user_agent or ""))
        return hmac.digest(self._key, text.encode(), "sha256").hex()[:32]

    def _ordinal(self, line: bytes) -> int:
        """How many identical lines stand before this one."""
        ordinal = self._ordinals.get(line, self._older_ordinals.get(line, -1)) + 1
        if len(self._ordinals) >= _REMEMBERED:
            self._ordinals, self._older_ordinals = {}, self._ordinals
        self._ordinals[line] = ordinal
        return ordinal


def _no_page_view(request: Request) -> str | None:
    """Why a request is none for a page; None if it is."""
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
    r"""A quoted field without its escapes: `\"` and `\\` of Apache, `\xhh` of both."""
    if "\\" not in field:
        return field
    return _ESCAPE.sub(_unescape, field.encode()).decode(errors="replace")


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes.fromhex(code[1:].decode()) if len(code) == 3 else _CONTROL.get(code, code)


@lru_cache(maxsize=64)
def _midnight(day: str, zone: str) -> datetime | None:
    """The beginning of a day of the log's clock, in UTC."""
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
