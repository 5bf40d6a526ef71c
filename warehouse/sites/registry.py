"""Websites that send events: adding, changing and removing them."""

from __future__ import annotations

import difflib
import re
import secrets
import zoneinfo
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from warehouse.kit.addresses import host_name
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.sites.collector import DEFAULTS, CollectorSettings

_SITE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

TILDA_PREVIEW = "tilda.ws"
"""Domain of Tilda projects without their own domain: projectNNN.tilda.ws, or a name chosen by the owner."""

_SELECT: LiteralString = """
    select
        site_id, name, domains, timezone, coalesce(public_key, closed_key) as public_key, created_at,
        public_key is not null as is_open, collector, reporting_currency
    from public.sites
"""

# A site with rows in these tables is closed, not removed: commands find its data only by the site's row.
_DATA_TABLES = ("public.events", "archive.events", "public.sessions", "public.users", "public.rejected_events")


class UnknownSiteError(UserError):
    """There is no site with this ID."""


@dataclass(frozen=True)
class Site:
    """A row of `public.sites`.

    Attributes:
        domains: Host names in lower-case ASCII (punycode); each includes its subdomains.
        timezone: IANA name of the time zone in which the site's days begin and end.
        public_key: Identifies the site in the snippet; not a secret.
        is_open: True if the API accepts events with the key.
        collector: Settings of the collector.
        reporting_currency: ISO 4217 code; revenue is reported in it, and an order without a currency has it.
    """

    site_id: str
    name: str
    domains: list[str]
    timezone: str
    public_key: str
    created_at: datetime
    is_open: bool = True
    collector: CollectorSettings = DEFAULTS
    reporting_currency: str = "RUB"


@dataclass(frozen=True)
class Difference:
    """A value before and after."""

    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """What a command changed.

    Attributes:
        site: The site after the change.
        changes: The changed fields, and by their names the changed settings of the collector; empty if nothing changed.
    """

    site: Site
    changes: dict[str, Difference]


@dataclass(frozen=True)
class Removal:
    """The result of removing a site, or with a dry run the expected result.

    Attributes:
        site_id: The site.
        action: `removed`: nothing of the site is left. `closed`: its key is refused, its data stays.
        rows: Rows of the site's data by table; tables without any are left out.
    """

    site_id: str
    action: Literal["removed", "closed"]
    rows: dict[str, int]


def add_site(
    url: str,
    site_id: str,
    domains: Iterable[str],
    timezone: str,
    name: str | None = None,
    *,
    currency: str = "RUB",
    collector: Mapping[str, object] | None = None,
) -> Site:
    """Add a site with a new key.

    Args:
        url: The owner's address of the database.
        site_id: 1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter or digit.
        domains: Host names whose pages may send events, at least one.
        timezone: IANA name, such as Europe/Moscow.
        name: What people call the site; by default its id.
        currency: ISO 4217 code of the currency of the site's reports.
        collector: Settings of the collector by name (`CollectorSettings`); the others keep their defaults.

    Raises:
        UserError: The site exists, or its id, name, time zone, a domain or a setting cannot be used.
    """
    if not _SITE_ID.fullmatch(site_id):
        raise UserError(
            f"{site_id!r} cannot be the id of a site.",
            "Use 1 to 63 lower-case letters, digits, '-' and '_', beginning with a letter or digit.",
        )
    hosts = _host_names(domains)
    if not hosts:
        raise UserError(f"The site {site_id} needs a domain.", "Name it: --domain example.com.")
    _check_name(site_id if name is None else name)
    code = _currency_code(currency)
    chosen = DEFAULTS.changed(collector or {}).as_json()
    key = f"pk_{secrets.token_urlsafe(18)}"
    with connect(url) as connection:
        _check_timezone(connection, timezone)
        inserted = connection.execute(
            "insert into public.sites (site_id, name, domains, timezone, public_key, reporting_currency, collector)"
            " values (%s, %s, %s, %s, %s, %s, %s) on conflict (site_id) do nothing",
            [site_id, site_id if name is None else name, hosts, timezone, key, code, Jsonb(chosen)],
        ).rowcount
        site = find_site(connection, site_id)
    if not inserted:
        raise UserError(
            f"The site {site_id} exists already{'' if site.is_open else ' and is closed'}; nothing was changed.",
            f"`tilda site show {site_id}` shows it, `tilda site domain add {site_id} HOST` adds a domain,"
            f" `tilda site set {site_id}` changes its name and time zone or opens it again.",
        )
    return site


def ensure_site(
    url: str,
    site_id: str,
    domains: Iterable[str],
    timezone: str,
    collector: Mapping[str, object] | None = None,
) -> Site:
    """Return the site with this ID; add it if it does not exist (see `add_site`).

    Raises:
        UserError: A value for a new site is invalid.
    """
    known = next((site for site in list_sites(url) if site.site_id == site_id), None)
    return known or add_site(url, site_id, domains, timezone, collector=collector)


def list_sites(url: str) -> list[Site]:
    """Return all sites, including closed ones, ordered by ID."""
    with connect(url) as connection, connection.cursor(row_factory=kwargs_row(_read_site)) as cursor:
        return cursor.execute(f"{_SELECT} order by site_id").fetchall()


def get_site(url: str, site_id: str) -> Site:
    """The site of this id.

    Raises:
        UnknownSiteError: There is no site with this ID; the message names a site with a similar ID.
    """
    with connect(url) as connection:
        return find_site(connection, site_id)


def find_site(connection: psycopg.Connection, site_id: str, *, lock: bool = False) -> Site:
    """Return the site with this ID, over an open connection.

    Args:
        connection: Of a login that may read `public.sites`.
        site_id: The site.
        lock: Keep others from changing it until the transaction ends.

    Raises:
        UnknownSiteError: There is no site with this ID; the message names a site with a similar ID.
    """
    with connection.cursor(row_factory=kwargs_row(_read_site)) as cursor:
        query = f"{_SELECT} where site_id = %s{' for update' if lock else ''}"
        site = cursor.execute(query, [site_id]).fetchone()
    if site is None:
        known = [row[0] for row in connection.execute("select site_id from public.sites")]
        alike = difflib.get_close_matches(site_id, known, n=1)
        raise UnknownSiteError(
            f"There is no site {site_id!r}.{f' Did you mean {alike[0]}?' if alike else ''}",
            f"`tilda site list` shows all; `tilda site add {site_id} --domain example.com` adds this one.",
        )
    return site


def set_site(
    url: str,
    site_id: str,
    *,
    name: str | None = None,
    timezone: str | None = None,
    currency: str | None = None,
    reopen: bool = False,
    collector: Mapping[str, object] | None = None,
) -> Change:
    """Change a site, or let its old key take events again. None leaves a value as it is.

    Args:
        url: The owner's address of the database.
        site_id: The site.
        name: Display name.
        timezone: IANA name.
        currency: ISO 4217 code of the currency of the reports.
        reopen: True to open a closed site.
        collector: Settings of the collector to change, by name (`CollectorSettings`).

    Raises:
        UserError: There is no such site, or a value cannot be used.
    """
    if name is not None:
        _check_name(name)
    with _changing(url, site_id) as (connection, site):
        if timezone is not None:
            _check_timezone(connection, timezone)
        return _save(
            connection,
            site,
            replace(
                site,
                name=site.name if name is None else name,
                timezone=site.timezone if timezone is None else timezone,
                reporting_currency=site.reporting_currency if currency is None else _currency_code(currency),
                is_open=site.is_open or reopen,
                collector=site.collector.changed(collector or {}),
            ),
        )


def add_domains(url: str, site_id: str, domains: Iterable[str]) -> Change:
    """Let pages of further host names send events to a site.

    Raises:
        UserError: There is no such site, or a domain is no host name.
    """
    hosts = _host_names(domains)
    with _changing(url, site_id) as (connection, site):
        return _save(connection, site, replace(site, domains=list(dict.fromkeys([*site.domains, *hosts]))))


def remove_domains(url: str, site_id: str, domains: Iterable[str]) -> Change:
    """Refuse events from pages of these host names from now on.

    Raises:
        UserError: The site or one of its domains is unknown, or no domain would be left.
    """
    hosts = _host_names(domains)
    with _changing(url, site_id) as (connection, site):
        unknown = [host for host in hosts if host not in site.domains]
        if unknown:
            raise UserError(
                f"{', '.join(unknown)}: no domain of {site_id}.", f"Its domains are {', '.join(site.domains)}."
            )
        left = [domain for domain in site.domains if domain not in hosts]
        if not left:
            # An empty list would let pages of every website send events.
            raise UserError(
                f"{site_id} needs at least one domain.",
                f"Add the new one first (`tilda site domain add {site_id} HOST`), or close the site:"
                f" `tilda site remove {site_id}`.",
            )
        return _save(connection, site, replace(site, domains=left))


def remove_site(url: str, site_id: str, *, keep_data: bool, dry_run: bool = False) -> Removal:
    """Remove a site that holds no data, or close one and keep its data.

    Args:
        url: The owner's address of the database.
        site_id: The site.
        keep_data: Close a site that holds data: its key is refused, its data stays and reports go on.
        dry_run: Change nothing.

    Raises:
        UserError: There is no such site, or it holds data and `keep_data` is not set.
    """
    with _changing(url, site_id) as (connection, site):
        rows = _rows_of(connection, site_id)
        if not rows:
            if not dry_run:
                connection.execute("delete from ops.refused_origins where site_id = %s", [site_id])
                connection.execute("delete from public.sites where site_id = %s", [site_id])
            return Removal(site_id, "removed", rows)
        if not keep_data:
            held = ", ".join(f"{table}: {count:,}" for table, count in rows.items())
            raise UserError(
                f"The site {site_id} holds data (rows of {held}).",
                f"`tilda site remove {site_id} --keep-data` closes the site: its key is refused, the data stays.",
            )
        if not dry_run:
            _save(connection, site, replace(site, is_open=False))
        return Removal(site_id, "closed", rows)


@contextmanager
def _changing(url: str, site_id: str) -> Generator[tuple[psycopg.Connection, Site]]:
    """Open a transaction that locks the site against concurrent changes."""
    with connect(url) as connection, connection.transaction():
        yield connection, find_site(connection, site_id, lock=True)


def _save(connection: psycopg.Connection, before: Site, after: Site) -> Change:
    connection.execute(
        """
        update public.sites
        set
            name = %(name)s, domains = %(domains)s, timezone = %(timezone)s,
            reporting_currency = %(reporting_currency)s, collector = %(collector)s,
            public_key = case when %(is_open)s then %(public_key)s end,
            closed_key = case when not %(is_open)s then %(public_key)s end
        where site_id = %(site_id)s
        """,
        {one.name: getattr(after, one.name) for one in fields(after)} | {"collector": Jsonb(after.collector.as_json())},
    )
    return Change(after, _differences(before, after))


def _differences(before: Site, after: Site) -> dict[str, Difference]:
    """Return the fields that differ; a setting of the collector counts as a field."""
    found: dict[str, Difference] = {}
    for old, new in ((before, after), (before.collector, after.collector)):
        for one in fields(old):
            values = Difference(getattr(old, one.name), getattr(new, one.name))
            if one.name != "collector" and values.old != values.new:
                found[one.name] = values
    return found


def _read_site(*, collector: dict[str, Any], **columns: Any) -> Site:  # noqa: ANN401 - the columns of `_SELECT`
    """Return the site of a row of `_SELECT`."""
    return Site(**columns, collector=CollectorSettings.from_json(collector))


def _rows_of(connection: psycopg.Connection, site_id: str) -> dict[str, int]:
    """Count a site's rows by table. Events in cold storage are not counted, but their visitors' rows are."""
    rows: dict[str, int] = {}
    for table in _DATA_TABLES:
        query = sql.SQL("select count(*) from {} where site_id = %s").format(sql.Identifier(*table.split(".")))
        row = connection.execute(query, [site_id]).fetchone()
        if row and row[0]:
            rows[table] = row[0]
    return rows


def _host_names(domains: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(host_name, domains)))


def _check_name(name: str) -> None:
    if not (name.isprintable() and 1 <= len(name.strip()) <= 200):
        raise UserError("The name of a site has 1 to 200 printable characters.", "Choose another --name.")


def _currency_code(currency: str) -> str:
    """Return an ISO 4217 code in upper case."""
    if not re.fullmatch(r"[A-Za-z]{3}", currency):
        raise UserError(f"{currency!r} is not a currency code.", "Use a code of ISO 4217, such as RUB or EUR.")
    return currency.upper()


def _check_timezone(connection: psycopg.Connection, timezone: str) -> None:
    """Check that both Python and Postgres know a time zone: both compute with it."""
    names = zoneinfo.available_timezones()
    try:
        with connection.transaction():
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
