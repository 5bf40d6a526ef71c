"""What every way in has in common: whose site it is, who sends, within which bounds, and the durable end."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from starlette.types import Scope

from ingest_api.client_address import TrustedProxies
from ingest_api.edge import FOREIGN_ORIGIN
from ingest_api.group_commit import GroupCommit, Outcome
from ingest_api.metrics import ACCEPTED, DUPLICATES, RECEIVED, REJECTED, SPOOLED
from ingest_api.problems import ProblemError
from ingest_api.rate_limits import RateLimits
from ingest_api.requests import is_foreign, public_key
from ingest_api.sites import Site, Sites
from warehouse.events.enrichment import make_refusal, make_row
from warehouse.events.schema import Event, Limits, Rejection, Row
from warehouse.events.user_agents import UserAgents

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request.

    Attributes:
        address: The visitor's full address, never stored.
        user_agent: The visitor's browser.
        is_service: The request carried the service key: a server of the owner's, on behalf of its visitors.
    """

    address: str | None
    user_agent: str | None
    is_service: bool


@dataclass(frozen=True)
class Intake:
    """The parts that the endpoints share."""

    sites: Sites
    commits: GroupCommit
    proxies: TrustedProxies
    rate_limits: RateLimits
    user_agents: UserAgents
    limits: Limits
    max_request_bytes: int
    service_key: str | None

    async def site(self, scope: Scope, headers: Headers) -> Site:
        """The site that the request's key names, if its page belongs to it.

        Raises:
            ProblemError: 401 without a known key, 403 from another website's page, 503 when it cannot be told.
        """
        site = await self.sites.find(public_key(scope["query_string"], headers))
        if is_foreign(headers.get(b"origin"), site):
            scope[FOREIGN_ORIGIN] = True
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "origin_not_allowed",
                "This key belongs to another website; add this page's domain to the site.",
            )
        return site

    def sender(self, scope: Scope, headers: Headers) -> Sender:
        """Who sent the request.

        A request with the service key comes from a server that speaks for its visitors: it may say their addresses in
        `X-Forwarded-For`, and a user agent that is no browser's is the server's own and says nothing about them.
        """
        client: tuple[str, int] | None = scope["client"]
        peer = client[0] if client else None
        user_agent = headers.get(b"user-agent", b"").decode("latin-1") or None
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if self._is_service(headers):
            named = forwarded[0].decode("latin-1").partition(",")[0].strip() if forwarded else None
            is_browser = user_agent is not None and user_agent.startswith("Mozilla/")
            return Sender(named, user_agent if is_browser else None, is_service=True)
        return Sender(self.proxies.client(peer, forwarded), user_agent, is_service=False)

    async def admit(self, site: Site, sender: Sender, events: int) -> None:
        """Count the events of a request against the sender's and the site's bounds.

        Raises:
            ProblemError: 429; nothing of the request may be stored.
        """
        if not sender.is_service:
            await self.rate_limits.take(address=sender.address, site_id=site.site_id, events=events)

    def row(self, event: Event, site: Site, sender: Sender, source: str, arrived_at: datetime) -> Row:
        """The row of a valid event."""
        row = make_row(
            event,
            site_id=site.site_id,
            source=source,
            address=sender.address,
            user_agent=sender.user_agent,
            parse_agent=self.user_agents.parse,
        )
        row.arrived_at = arrived_at
        return row

    def refusal(self, rejection: Rejection, site: Site, source: str, arrived_at: datetime) -> Row:
        """The row that keeps an event that was refused."""
        row = make_refusal(rejection, site_id=site.site_id, source=source)
        row.arrived_at = arrived_at
        return row

    async def store(self, rows: list[Row], source: str) -> Outcome:
        """Make rows durable and count them.

        Raises:
            ProblemError: 503; the sender keeps them.
        """
        RECEIVED.labels(source).inc(len(rows))
        for row in rows:
            if row.reject_code is not None:
                REJECTED.labels(row.reject_code).inc()
        outcome = await self.commits.submit(rows)
        ACCEPTED.inc(outcome.accepted)
        DUPLICATES.inc(outcome.duplicates)
        SPOOLED.inc(outcome.spooled)
        for row in outcome.refused:
            REJECTED.labels(row.reject_code or "").inc()
        return outcome

    def _is_service(self, headers: Headers) -> bool:
        given = headers.get(b"authorization")
        if self.service_key is None or given is None:
            return False
        return hmac.compare_digest(given, b"Bearer " + self.service_key.encode())
