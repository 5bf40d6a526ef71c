"""Lists refused origins for the operator: pages whose host is not a domain of the site."""

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
        requests: Number of refused requests.
        last_at: Time of the last refused request.
        allow_with: Command that allows the origin; None for `null`, `other` and invalid host names.
    """

    site_id: str
    origin: str
    requests: int
    last_at: datetime
    allow_with: str | None


def list_refused_origins(
    connection: psycopg.Connection, since: datetime, site_id: str | None = None
) -> list[RefusedOrigin]:
    """Return the origins refused since a time, most frequent first, without origins that are allowed now.

    Counts are stored by UTC day, so all requests of the first day are included.

    Args:
        connection: With the owner's privileges.
        since: Earliest time of an origin's last refused request.
        site_id: Restrict to this site; None for all sites.
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
