"""The way of an event, step by step: authenticate → admit → parse → enrich → land.

An endpoint authenticates its sender, reads its own format into an `Envelope` and passes that to `Pipeline.receive`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.types import Scope

from ingest_api.problems import ProblemError
from ingest_api.public.client_address import TrustedProxies
from ingest_api.public.metrics import ACCEPTED, DUPLICATES, RECEIVED, REJECTED, SPOOLED
from ingest_api.public.middleware import FOREIGN_ORIGIN
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.rate_limits import RateLimits
from ingest_api.public.refused_origins import RefusedOrigins
from ingest_api.public.requests import public_key
from ingest_api.public.sinks.group_commit import GroupCommit
from ingest_api.public.sites import Site, SiteRegistry
from warehouse.events.enrichment import make_refusal, make_row
from warehouse.events.schema import Limits, Rejection, Row
from warehouse.events.user_agents import UserAgents
from warehouse.events.validation import Batch, parse_events

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request.

    Attributes:
        site: The site that its key names.
        address: The visitor's full address, never stored; None: not known, so that no bound by address applies.
        user_agent: The visitor's browser.
        is_exempt: No rate limit applies: a server of the owner's, or Tilda's webhook, on behalf of many visitors.
    """

    site: Site
    address: str | None
    user_agent: str | None
    is_exempt: bool


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an endpoint read from a request.

    Attributes:
        source: The path into the platform, stored with each event.
        events: JSON texts of the events, in the sender's order.
        sent_at: The sender's clock at the moment of sending.
        ignored: Names of fields of the request that nothing reads.
        is_bot: All of its events were sent by a bot.
        is_atomic: One event that is rejected rejects all.
    """

    source: str
    events: Sequence[bytes]
    sent_at: datetime | None = None
    ignored: Sequence[str] = ()
    is_bot: bool = False
    is_atomic: bool = False


class RejectedBatchError(Exception):
    """An event of an atomic batch was rejected; nothing was stored."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.detail)
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a request's events.

    Attributes:
        accepted: Stored now.
        duplicates: Stored before.
        spooled: On the local disk until Postgres can be reached; then `accepted` and `duplicates` are not known.
        rejected: One object for each event that was rejected, by place in the request.
        ignored: Names of fields that nothing reads.
        user_id: The first visitor id in the request.
    """

    accepted: int
    duplicates: int
    spooled: int
    rejected: list[dict[str, Any]]
    ignored: list[str]
    user_id: str | None


@dataclass(frozen=True)
class Pipeline:
    """The steps, and the parts that they use."""

    sites: SiteRegistry
    proxies: TrustedProxies
    rate_limits: RateLimits
    limits: Limits
    user_agents: UserAgents
    max_request_bytes: int
    service_key: str | None
    sink: GroupCommit
    refused_origins: RefusedOrigins
    warnings: OperatorWarnings

    async def receive(self, sender: Sender, envelope: Envelope) -> Receipt:
        """Take the events of an authenticated sender.

        Raises:
            ProblemError: The sender must wait (429), or nothing can be stored now (503).
            RejectedBatchError: The envelope is atomic and one of its events was rejected.
        """
        arrived_at = datetime.now(UTC)
        await self.admit(sender, len(envelope.events))
        batch = self.parse(envelope)
        rows = self.enrich(batch, sender, envelope, arrived_at)
        return await self.land(rows, batch, envelope)

    async def authenticate(self, scope: Scope, headers: Headers) -> Sender:
        """Find the site by the request's public key, check the page's origin, and tell who sent the request.

        Raises:
            ProblemError: 401 without a known key, 403 from another website's page, 503 when it cannot be told.
        """
        site = await self.sites.by_key(public_key(scope["query_string"], headers))
        self.check_origin(scope, headers, site)
        return self._sender(scope, headers, site)

    def check_origin(self, scope: Scope, headers: Headers, site: Site) -> None:
        """Refuse a page that does not belong to the site.

        Raises:
            ProblemError: 403.
        """
        origin = headers.get(b"origin")
        if site.allows(origin):
            return
        scope[FOREIGN_ORIGIN] = True
        self.refused_origins.note(site.site_id, origin or b"")
        self.warnings.refused_origin()
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "origin_not_allowed",
            "This key belongs to another website; add this page's domain to the site.",
        )

    async def admit(self, sender: Sender, events: int) -> None:
        """Count events against the bounds of the sender's address and site.

        Raises:
            ProblemError: 429; nothing of the request may be stored.
        """
        if not sender.is_exempt:
            await self.rate_limits.take(address=sender.address, site_id=sender.site.site_id, events=events)

    def parse(self, envelope: Envelope) -> Batch:
        """Validate each event by itself."""
        batch = parse_events(envelope.events, self.limits)
        if envelope.is_atomic and batch.rejected:
            raise RejectedBatchError(batch.rejected[0])
        return batch

    def enrich(self, batch: Batch, sender: Sender, envelope: Envelope, arrived_at: datetime) -> list[Row]:
        """Make the rows: first those of the events, then those that keep what was rejected."""
        site_id, source = sender.site.site_id, envelope.source
        rows = [
            make_row(
                event,
                site_id=site_id,
                source=source,
                address=sender.address,
                user_agent=sender.user_agent,
                parse_agent=self.user_agents.parse,
                is_bot=envelope.is_bot,
                sent_at=envelope.sent_at,
                arrived_at=arrived_at,
            )
            for event in batch.events
        ]
        rows += [
            make_refusal(rejection, site_id=site_id, source=source, arrived_at=arrived_at)
            for rejection in batch.rejected
        ]
        return rows

    async def land(self, rows: list[Row], batch: Batch, envelope: Envelope) -> Receipt:
        """Make the rows durable, and account for each event.

        Raises:
            ProblemError: 503; the sender keeps the events.
        """
        RECEIVED.labels(envelope.source).inc(len(rows))
        outcome = await self.sink.submit(rows)
        ACCEPTED.inc(outcome.accepted)
        DUPLICATES.inc(outcome.duplicates)
        SPOOLED.inc(outcome.spooled)
        kept = rows[len(batch.events) :]
        rejected = [_answer(one.index, row) for one, row in zip(batch.rejected, kept, strict=True)]
        if outcome.refused:
            place = {id(row): index for row, index in zip(rows, batch.indexes, strict=False)}
            rejected += [_answer(place[id(row)], row) for row in outcome.refused]
            rejected.sort(key=lambda one: one["index"])
        for one in rejected:
            REJECTED.labels(one["code"]).inc()
        return Receipt(
            accepted=outcome.accepted,
            duplicates=outcome.duplicates,
            spooled=outcome.spooled,
            rejected=rejected,
            ignored=sorted({*envelope.ignored, *batch.ignored}),
            user_id=next((row.user_id for row in rows if row.user_id), None),
        )

    def _sender(self, scope: Scope, headers: Headers, site: Site) -> Sender:
        """Who sent the request.

        A request with the service key comes from a server that speaks for its visitors: it may give their addresses in
        `X-Forwarded-For`. A user agent that is no browser's is the server's own, and is not the visitor's.
        """
        client: tuple[str, int] | None = scope["client"]
        peer = client[0] if client else None
        user_agent = headers.get(b"user-agent", b"").decode("latin-1") or None
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if self._has_service_key(headers):
            named = forwarded[0].decode("latin-1").partition(",")[0].strip() if forwarded else None
            is_browser = user_agent is not None and user_agent.startswith("Mozilla/")
            return Sender(site, named, user_agent if is_browser else None, is_exempt=True)
        if forwarded and peer is not None and not self.proxies.trusts(peer):
            self.warnings.ignored_forwarding(peer)
        return Sender(site, self.proxies.client(peer, forwarded), user_agent, is_exempt=False)

    def _has_service_key(self, headers: Headers) -> bool:
        given = headers.get(b"authorization")
        if self.service_key is None or given is None:
            return False
        return hmac.compare_digest(given, b"Bearer " + self.service_key.encode())


def _answer(index: int, row: Row) -> dict[str, Any]:
    return {
        "index": index,
        "event_id": row.reject_event_id,
        "code": row.reject_code,
        "detail": row.reject_detail,
    }
