"""Websites that send events: registering them, and the snippet that each one pastes."""

from __future__ import annotations

import difflib
import html
import ipaddress
import re
import secrets
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import errors
from psycopg.rows import class_row

from warehouse.database import connect
from warehouse.errors import UserError

_SITE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True)
class Site:
    """A row of `public.sites`.

    Attributes:
        domains: Host names in lower-case ASCII (punycode); each covers its subdomains.
        timezone: IANA name; the days of the site are cut in it.
        public_key: Names the site in the snippet; no secret.
    """

    site_id: str
    name: str
    domains: list[str]
    timezone: str
    public_key: str
    created_at: datetime


def add_site(url: str, site_id: str, domains: Iterable[str], timezone: str, name: str | None = None) -> Site:
    """Register a site, or change the domains and time zone of one that exists; its key stays.

    Args:
        url: The owner's address of the database.
        site_id: 1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter or digit.
        domains: Host names whose pages may send events, at least one.
        timezone: IANA name, such as Europe/Moscow.
        name: What people call the site; by default its id, and on a second call the name that it has.

    Raises:
        UserError: The id, a domain or the time zone cannot be used.
    """
    if not _SITE_ID.fullmatch(site_id):
        raise UserError(
            f"{site_id!r} cannot be the id of a site.",
            "Use 1 to 63 lower-case letters, digits, '-' and '_', beginning with a letter or digit.",
        )
    if name is not None and not (name.isprintable() and 1 <= len(name.strip()) <= 200):
        raise UserError("The name of a site has 1 to 200 printable characters.", "Choose another --name.")
    hosts = list(dict.fromkeys(map(_host, domains)))
    if not hosts:
        raise UserError(f"The site {site_id} needs a domain.", "Name it: --domain example.com.")
    with connect(url) as connection:
        _check_timezone(connection, timezone)
        with connection.cursor(row_factory=class_row(Site)) as cursor:
            site = cursor.execute(
                """
                insert into public.sites as known (site_id, name, domains, timezone, public_key)
                values (%(site_id)s, coalesce(%(name)s, %(site_id)s), %(hosts)s, %(timezone)s, %(key)s)
                on conflict (site_id) do update set
                    name = coalesce(%(name)s, known.name), domains = excluded.domains, timezone = excluded.timezone
                returning site_id, name, domains, timezone, public_key, created_at
                """,
                {
                    "site_id": site_id,
                    "name": name,
                    "hosts": hosts,
                    "timezone": timezone,
                    "key": f"pk_{secrets.token_urlsafe(18)}",
                },
            ).fetchone()
    assert site is not None
    return site


def list_sites(url: str) -> list[Site]:
    """All sites, by id."""
    with connect(url) as connection, connection.cursor(row_factory=class_row(Site)) as cursor:
        return cursor.execute(
            "select site_id, name, domains, timezone, public_key, created_at from public.sites order by site_id"
        ).fetchall()


def get_site(url: str, site_id: str) -> Site:
    """One site.

    Raises:
        UserError: There is none of this id.
    """
    known = {site.site_id: site for site in list_sites(url)}
    if site_id not in known:
        alike = difflib.get_close_matches(site_id, known, n=1)
        hint = f" Did you mean {alike[0]}?" if alike else ""
        raise UserError(
            f"There is no site {site_id!r}.{hint}", f"Register it with `tilda site add {site_id} --domain example.com`."
        )
    return known[site_id]


def snippet(site: Site, ingest_url: str) -> str:
    """The HTML that the site's owner pastes into every page: the collector, and a pixel for visitors without scripts.

    Args:
        site: The site whose events these will be.
        ingest_url: Where the public ingest API is reached, such as https://a.example.com.
    """
    base = html.escape(ingest_url.rstrip("/"))
    key = html.escape(site.public_key)
    # The pixel learns the page from its Referer: the policy asks for the whole address, not just the origin.
    return (
        f'<script async src="{base}/collector.js" data-site-key="{key}"></script>\n'
        f'<noscript><img src="{base}/api/pixel.gif?key={quote(site.public_key, safe="")}" alt="" width="1" height="1" '
        'style="position:absolute" referrerpolicy="no-referrer-when-downgrade"></noscript>'
    )


def _host(domain: str) -> str:
    """A host name as browsers send it: lower case, punycode, no trailing dot."""
    wanted = domain.strip()
    try:
        host = wanted.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError:
        host = ""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    if _is_host_name(host):
        return host
    raise UserError(f"{domain!r} is no host name.", f"Write it as {_guess_host(wanted) or 'example.com'}.")


def _guess_host(text: str) -> str | None:
    """The host of what was probably meant: an address copied from the browser, a port, a wildcard."""
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname
    except ValueError:
        return None
    host = (host or "").removeprefix("*.")
    return host if _is_host_name(host) else None


def _is_host_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(map(_HOST_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def _check_timezone(connection: psycopg.Connection, timezone: str) -> None:
    """Both Python and Postgres must know a zone: each cuts days in it."""
    names = zoneinfo.available_timezones()
    try:
        connection.execute("select now() at time zone %s", [timezone])
    except errors.DataError:
        known = False
    else:
        known = timezone in names  # Postgres would also take rules such as UTC+3
    if not known:
        folded = {name.casefold(): name for name in names}
        alike = difflib.get_close_matches(timezone.casefold(), folded, n=1)
        raise UserError(
            f"There is no time zone {timezone!r}.",
            f"Use an IANA name, such as {folded[alike[0]] if alike else 'Europe/Moscow'}.",
        )
