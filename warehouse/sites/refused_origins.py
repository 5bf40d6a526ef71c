"""Pages whose events were refused because their host is no domain of the site: what an operator sees of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import psycopg

from warehouse.kit.addresses import host_name, is_within
from warehouse.kit.errors import UserError


@dataclass(frozen=True, slots=True)
class RefusedOrigin:
    """An origin that a site refuses.

    Attributes:
        origin: Scheme, host and port as a browser sent them; `null` for a file or a sandboxed frame; `other` for all
            origins beyond the first 100 of a day.
        requests: How many were refused.
        last_at: When the last one was refused.
        allow_with: The command that allows it; None for `null`, `other` and what is no host name.
    """

    site_id: str
    origin: str
    requests: int
    last_at: datetime
    allow_with: str | None


def list_refused_origins(
    connection: psycopg.Connection, since: datetime, site_id: str | None = None
) -> list[RefusedOrigin]:
    """The origins refused since a moment, the most frequent first. One that is allowed by now is left out.

    Counts are kept by UTC day: of the first day all requests count.

    Args:
        connection: With the owner's rights.
        since: Origins whose last request came at this moment or later.
        site_id: Of this site only; None: of all.
    """
    rows = connection.execute(
        """
        select refused.site_id, refused.origin, sum(refused.requests)::bigint, max(refused.last_at), sites.domains
        from ops.refused_origins as refused
        inner join public.sites on refused.site_id = sites.site_id
        where
            refused.day >= (%(since)s at time zone 'UTC')::date and refused.last_at >= %(since)s
            and (%(site_id)s::text is null or refused.site_id = %(site_id)s)
        group by refused.site_id, refused.origin, sites.domains
        order by 3 desc, 1, 2
        """,
        {"since": since, "site_id": site_id},
    ).fetchall()
    found: list[RefusedOrigin] = []
    for site, origin, requests, last_at, domains in rows:
        host = _host(origin)
        if host is None or not is_within(host, domains):
            command = None if host is None else f"tilda site domain add {site} {host}"
            found.append(RefusedOrigin(site, origin, requests, last_at, command))
    return found


def _host(origin: str) -> str | None:
    try:
        return host_name(urlsplit(origin).hostname or "")
    except (ValueError, UserError):
        return None
