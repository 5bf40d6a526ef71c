"""`POST /api/events`: a batch of events in, a durable answer out."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from operator import itemgetter
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public.pipeline import Intake
from ingest_api.public.requests import read_body, require_media_type
from ingest_api.public.server_cookie import set_cookie
from ingest_api.public.sinks.group_commit import Outcome
from warehouse.events.schema import Row
from warehouse.events.validation import Batch, BatchError, parse_batch

SOURCE = "api"

_encode = msgspec.json.Encoder().encode


class EventsEndpoint:
    """Reads, checks and enriches a batch, hands it to the group commit, and accounts for each event."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, request: Request) -> Response:
        """Answer 202 after the events are durable; raises ProblemError otherwise, with nothing stored."""
        intake, scope = self._intake, request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        site = await intake.site(scope, headers)
        require_media_type(headers, b"application/json", b"text/plain")
        body = await read_body(request.receive, headers, intake.max_request_bytes)
        arrived_at = datetime.now(UTC)
        sender = intake.sender(scope, headers)
        try:
            batch = parse_batch(body, intake.limits)
        except BatchError as error:
            await intake.admit(site, sender, 1)
            too_many = error.code == "too_many_events"
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_many else HTTPStatus.BAD_REQUEST
            raise ProblemError(status, error.code, error.detail) from None
        await intake.admit(site, sender, len(batch.events) + len(batch.rejected))
        rows = [intake.row(event, site, sender, SOURCE, arrived_at) for event in batch.events]
        if batch.sent_at is not None:
            for row in rows:
                row.sent_at = batch.sent_at
        rows += [intake.refusal(rejection, site, SOURCE, arrived_at) for rejection in batch.rejected]
        outcome = await intake.store(rows, SOURCE)
        response = Response(_encode(_answer(batch, rows, outcome)), HTTPStatus.ACCEPTED, media_type="application/json")
        user_id = next((row.user_id for row in rows if row.user_id), None)
        cookie = set_cookie(scope, headers, site, user_id)
        if cookie is not None:
            response.headers["Set-Cookie"] = cookie
        return response


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
