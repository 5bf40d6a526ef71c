"""The steps of ingestion: authenticate → admit → parse → enrich → land.

An endpoint authenticates its sender, reads its own format into an `Envelope` and passes the envelope to
`Pipeline.receive`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.types import Scope

from ingest_api.problems import ProblemError
from ingest_api.public.client_address import TrustedProxies
from ingest_api.public.daily_salts import DailySalts
from ingest_api.public.metrics import ACCEPTED, DUPLICATES, RECEIVED, REJECTED, SPOOLED
from ingest_api.public.middleware import FOREIGN_ORIGIN
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.rate_limits import RateLimits
from ingest_api.public.refused_origins import RefusedOrigins
from ingest_api.public.requests import public_key
from ingest_api.public.sinks.group_commit import GroupCommit
from ingest_api.public.sites import Site, SiteRegistry
from warehouse.events.cookieless import make_cookieless, reject_identify, visitor_id
from warehouse.events.enrichment import make_refusal, make_row
from warehouse.events.schema import Limits, Rejection, Row
from warehouse.events.user_agents import UserAgents
from warehouse.events.validation import Batch, parse_events

Headers = Mapping[bytes, bytes]


class Sender(msgspec.Struct, frozen=True):
    """The sender of a request.

    Attributes:
        site: The site that the request's key names.
        address: The visitor's full IP address, never stored; None if unknown: then no rate limit per address applies.
        user_agent: The visitor's `User-Agent`.
        is_exempt: True if no rate limit applies: the owner's server and Tilda's webhook send for many visitors.
        is_cookieless: True if the request's URL has the parameter `cookieless=1`.
    """

    site: Site
    address: str | None
    user_agent: str | None
    is_exempt: bool
    is_cookieless: bool = False


class Envelope(msgspec.Struct, frozen=True):
    """The events of a request, independent of the endpoint's format.

    Attributes:
        source: Name of the endpoint, stored with each event.
        events: JSON texts of the events, in the sender's order.
        sent_at: Time of sending by the sender's clock.
        ignored: Names of unknown fields of the request.
        is_bot: True if a bot sent the events.
        is_atomic: True if one rejected event rejects the complete request.
        is_cookieless: True if the visitor must be recognized for one day only, without an ID from the browser.
    """

    source: str
    events: Sequence[bytes]
    sent_at: datetime | None = None
    ignored: Sequence[str] = ()
    is_bot: bool = False
    is_atomic: bool = False
    is_cookieless: bool = False


class RejectedBatchError(Exception):
    """An event of an atomic batch was rejected; nothing was stored."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.detail)
        self.rejection = rejection


class Receipt(msgspec.Struct, frozen=True):
    """The result for a request's events.

    Attributes:
        accepted: Number of events stored by this request.
        duplicates: Number of events that were already stored.
        spooled: Number of events on the local disk. If it is not 0, `accepted` and `duplicates` are unknown.
        rejected: One object per rejected event, ordered by position in the request.
        ignored: Names of unknown fields.
        user_id: The last visitor ID in the request: the current one, if the visitor changed between its events.
    """

    accepted: int
    duplicates: int
    spooled: int
    rejected: list[dict[str, Any]]
    ignored: list[str]
    user_id: str | None


@dataclass(frozen=True)
class Pipeline:
    """The steps of ingestion and the objects that they use."""

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
    salts: DailySalts

    async def receive(self, sender: Sender, envelope: Envelope) -> Receipt:
        """Store the events of an authenticated sender.

        Raises:
            ProblemError: A rate limit is exceeded (429), or events cannot be stored now (503).
            RejectedBatchError: The envelope is atomic and one of its events was rejected.
        """
        arrived_at = datetime.now(UTC)
        await self.admit(sender, len(envelope.events))
        is_cookieless = sender.is_cookieless or envelope.is_cookieless
        batch = self.parse(envelope, is_cookieless=is_cookieless)
        rows = self.enrich(batch, sender, envelope, arrived_at)
        if is_cookieless:
            await self.anonymize(rows[: len(batch.events)], sender)
        return await self.land(rows, batch, envelope)

    async def authenticate(self, scope: Scope, headers: Headers) -> Sender:
        """Find the site by the request's public key, check the page's origin, and identify the sender.

        Raises:
            ProblemError: The key is missing or unknown (401), the page belongs to another website (403), or the
                database cannot be asked about the key (503).
        """
        site = await self.sites.by_key(public_key(scope["query_string"], headers))
        self.check_origin(scope, headers, site)
        return self._sender(scope, headers, site)

    def check_origin(self, scope: Scope, headers: Headers, site: Site) -> None:
        """Refuse a page whose domain is not registered for the site.

        Raises:
            ProblemError: The page belongs to another website (403).
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
            "This key belongs to a site without this page's domain; add the domain to the site.",
        )

    async def admit(self, sender: Sender, events: int) -> None:
        """Count events against the rate limits of the sender's address and site.

        Raises:
            ProblemError: A limit is exceeded (429); no event of the request may be stored.
        """
        if not sender.is_exempt:
            await self.rate_limits.take(address=sender.address, site_id=sender.site.site_id, events=events)

    def parse(self, envelope: Envelope, *, is_cookieless: bool = False) -> Batch:
        """Validate each event independently of the others. A cookieless visitor cannot be identified.

        Raises:
            RejectedBatchError: The envelope is atomic and one of its events was rejected.
        """
        batch = parse_events(envelope.events, self.limits)
        if is_cookieless:
            reject_identify(batch)
        if envelope.is_atomic and batch.rejected:
            raise RejectedBatchError(batch.rejected[0])
        return batch

    def enrich(self, batch: Batch, sender: Sender, envelope: Envelope, arrived_at: datetime) -> list[Row]:
        """Make the rows to store: first those of valid events, then those of rejected events."""
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

    async def anonymize(self, events: Sequence[Row], sender: Sender) -> None:
        """Replace the visitor's IDs by an ID that lives for one day; remove address and user agent."""
        visitor = None
        if events and sender.address is not None:
            salt = await self.salts.today()
            visitor = visitor_id(salt, sender.site.site_id, sender.address, sender.user_agent)
        for row in events:
            make_cookieless(row, visitor)

    async def land(self, rows: list[Row], batch: Batch, envelope: Envelope) -> Receipt:
        """Make the rows durable, and count each event in the receipt.

        Raises:
            ProblemError: The rows cannot be stored now (503); the sender must keep the events.
        """
        RECEIVED.labels(envelope.source).inc(len(rows))
        outcome = await self.sink.submit(rows)
        ACCEPTED.inc(outcome.accepted)
        if outcome.duplicates or outcome.spooled:
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
            user_id=next((row.user_id for row in reversed(rows) if row.user_id), None),
        )

    def _sender(self, scope: Scope, headers: Headers, site: Site) -> Sender:
        """Identify the sender.

        A request with the service key comes from a server that sends on behalf of its visitors. The server may give
        the visitor's address in `X-Forwarded-For`. A `User-Agent` that is not a browser's is the server's own and is
        ignored.
        """
        client: tuple[str, int] | None = scope["client"]
        peer = client[0] if client else None
        user_agent = headers.get(b"user-agent", b"").decode("latin-1") or None
        query: bytes = scope["query_string"]
        is_cookieless = b"cookieless=1" in query and b"cookieless=1" in query.split(b"&")
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if self._has_service_key(headers):
            named = forwarded[0].decode("latin-1").partition(",")[0].strip() if forwarded else None
            is_browser = user_agent is not None and user_agent.startswith("Mozilla/")
            return Sender(site, named, user_agent if is_browser else None, is_exempt=True, is_cookieless=is_cookieless)
        if forwarded and peer is not None and not self.proxies.trusts(peer):
            self.warnings.ignored_forwarding(peer)
        address = self.proxies.client(peer, forwarded)
        return Sender(site, address, user_agent, is_exempt=False, is_cookieless=is_cookieless)

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
