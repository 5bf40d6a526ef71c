"""`POST /api/events`: a batch of events in, a durable answer out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public.pipeline import Envelope, Pipeline, Receipt
from ingest_api.public.requests import read_body, require_media_type
from ingest_api.public.server_cookie import set_cookie
from warehouse.events.validation import BatchError, open_envelope

SOURCE = "api"

_encode = msgspec.json.Encoder().encode


class EventsEndpoint:
    """Reads the platform's own format: an event, an array of events, or `{"sent_at", "events"}`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, request: Request) -> Response:
        """Answer 202 after the events are durable; raises ProblemError otherwise, with nothing stored."""
        pipeline, scope = self._pipeline, request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        sender = await pipeline.authenticate(scope, headers)
        require_media_type(headers, b"application/json", b"text/plain")
        body = await read_body(request.receive, headers, pipeline.max_request_bytes)
        try:
            opened = open_envelope(body, pipeline.limits)
        except BatchError as error:
            await pipeline.admit(sender, 1)
            too_many = error.code == "too_many_events"
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_many else HTTPStatus.BAD_REQUEST
            raise ProblemError(status, error.code, error.detail) from None
        receipt = await pipeline.receive(sender, Envelope(SOURCE, opened.events, opened.sent_at, opened.ignored))
        response = Response(_encode(_answer(receipt)), HTTPStatus.ACCEPTED, media_type="application/json")
        cookie = set_cookie(scope, headers, sender.site, receipt.user_id)
        if cookie is not None:
            response.headers["Set-Cookie"] = cookie
        return response


def _answer(receipt: Receipt) -> dict[str, Any]:
    account: dict[str, Any] = {"accepted": receipt.accepted, "duplicates": receipt.duplicates}
    if receipt.spooled:
        account = {"spooled": receipt.spooled}
    return account | {"rejected": receipt.rejected, "ignored": receipt.ignored}
