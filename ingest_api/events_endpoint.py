"""`POST /api/events`: a batch of events in, a durable answer out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from operator import itemgetter
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import Response

from ingest_api.client_address import TrustedProxies
from ingest_api.edge import FOREIGN_ORIGIN
from ingest_api.group_commit import GroupCommit, Outcome
from ingest_api.problems import ProblemError
from ingest_api.requests import is_foreign, public_key, read_body, require_media_type
from ingest_api.sites import Sites
from warehouse.events.enrichment import make_row
from warehouse.events.schema import Limits, Rejection, Row
from warehouse.events.validation import Batch, BatchError, parse_batch

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class EventsEndpoint:
    """Reads, checks and enriches a batch, hands it to the group commit, and accounts for each event."""

    sites: Sites
    commits: GroupCommit
    proxies: TrustedProxies
    limits: Limits
    max_request_bytes: int

    async def __call__(self, request: Request) -> Response:
        """Answer 202 after the events are durable; raises ProblemError otherwise, with nothing stored."""
        scope = request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        site = await self.sites.find(public_key(scope["query_string"], headers))
        if is_foreign(headers.get(b"origin"), site):
            scope[FOREIGN_ORIGIN] = True
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "origin_not_allowed",
                "This key belongs to another website; add this page's domain to the site.",
            )
        require_media_type(headers, b"application/json", b"text/plain")
        body = await read_body(request.receive, headers, self.max_request_bytes)
        arrived_at = datetime.now(UTC)
        try:
            batch = parse_batch(body, self.limits)
        except BatchError as error:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if error.code == "too_many_events" else HTTPStatus.BAD_REQUEST
            raise ProblemError(status, error.code, error.detail) from None
        client: tuple[str, int] | None = scope["client"]
        forwarded = (value for name, value in scope["headers"] if name == b"x-forwarded-for")
        rows = _make_rows(
            batch,
            site_id=site.site_id,
            address=self.proxies.client(client[0] if client else None, forwarded),
            user_agent=headers.get(b"user-agent", b"").decode("latin-1") or None,
            arrived_at=arrived_at,
        )
        outcome = await self.commits.submit(rows)
        return Response(_encode(_answer(batch, rows, outcome)), HTTPStatus.ACCEPTED, media_type="application/json")


def _make_rows(
    batch: Batch, *, site_id: str, address: str | None, user_agent: str | None, arrived_at: datetime
) -> list[Row]:
    """The rows of a batch: events in their order, then refusals."""
    rows = [
        make_row(event, site_id=site_id, source="api", address=address, user_agent=user_agent) for event in batch.events
    ]
    for row in rows:
        row.sent_at = batch.sent_at
        row.arrived_at = arrived_at
    rows += [_refusal(rejection, site_id, arrived_at) for rejection in batch.rejected]
    return rows


def _refusal(rejection: Rejection, site_id: str, arrived_at: datetime) -> Row:
    return Row(
        site_id=site_id,
        source="api",
        arrived_at=arrived_at,
        reject_code=rejection.code,
        reject_detail=rejection.detail,
        reject_event_id=rejection.event_id,
        reject_body=rejection.body,
    )


def _answer(batch: Batch, rows: list[Row], outcome: Outcome) -> dict[str, Any]:
    rejected: list[dict[str, Any]] = [
        {"index": rejection.index, "event_id": rejection.event_id, "code": rejection.code, "detail": rejection.detail}
        for rejection in batch.rejected
    ]
    if outcome.refused:
        place = {id(row): index for row, index in zip(rows, batch.indexes, strict=False)}
        rejected += [
            {
                "index": place[id(row)],
                "event_id": row.reject_event_id,
                "code": row.reject_code,
                "detail": row.reject_detail,
            }
            for row in outcome.refused
        ]
        rejected.sort(key=itemgetter("index"))
    if outcome.spooled:
        return {"spooled": outcome.spooled, "rejected": rejected}
    return {"accepted": outcome.accepted, "duplicates": outcome.duplicates, "rejected": rejected}
