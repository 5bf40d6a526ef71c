"""`POST /api/events`: store a batch of events, and answer after the events are durable."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Request
from fastapi.responses import Response
from msgspec import UNSET, Meta, UnsetType

from ingest_api.problems import ProblemError
from ingest_api.public import openapi
from ingest_api.public.pipeline import Envelope, Pipeline, Receipt
from ingest_api.public.requests import read_body, require_media_type
from ingest_api.public.server_cookie import set_cookie
from warehouse.events.schema import Event
from warehouse.events.validation import BatchError, open_envelope

SOURCE = "api"

_encode = msgspec.json.Encoder().encode


class RejectedEvent(msgspec.Struct):
    """An event that was rejected."""

    index: Annotated[int, Meta(description="Position in the batch, from 0.")]
    event_id: str | None
    code: Annotated[str, Meta(description="A stable name, such as `invalid_payload`.")]
    detail: Annotated[str, Meta(description="One sentence for a developer.")]


class Answer(msgspec.Struct):
    """The result for a batch."""

    rejected: list[RejectedEvent]
    ignored: Annotated[list[str], Meta(description="Names of unknown fields, at most 20.")]
    accepted: Annotated[int, Meta(description="Events stored by this request.")] | UnsetType = UNSET
    duplicates: (
        Annotated[int, Meta(description="Events that were already stored, by `event_id` and `created_at`.")] | UnsetType
    ) = UNSET
    spooled: (
        Annotated[
            int,
            Meta(description="Events on the local disk while the database is down; replaces both other counts."),
        ]
        | UnsetType
    ) = UNSET


class Batch(msgspec.Struct):
    """Events with the time of sending."""

    events: Annotated[list[Event], Meta(max_length=500)]
    sent_at: Annotated[
        datetime | None,
        Meta(description="Time of sending by the sender's clock; the server corrects the clock's error."),
    ] = None
    cookieless: Annotated[
        bool,
        Meta(description="True to recognize the visitor for one day only, like the URL parameter `cookieless=1`."),
    ] = False


EXAMPLE = Event(
    event_id=UUID("6f2c1c1e-6f1b-4d0f-9d52-0c2d3f8a7b11"),
    event_type="page_view",
    created_at=datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
    session_id=UUID("0b7a2a9e-5c0e-4c3b-8a66-0f4f7a0c9d10"),
    user_id="c7c0a8f2-8d57-4a59-9a67-1f3b0a2d4e55",
    page_url="https://shop.example/catalogue?utm_source=newsletter",
    page_title="Catalogue",
    referrer="https://search.example/",
    payload={"page_view_id": "2f8a", "viewport": {"width": 1280, "height": 720}},
)
DESCRIPTION = openapi.describe(
    "Send events",
    "Accepts an event, an array of events, or `{sent_at, events}`, plain or with `Content-Encoding: gzip`. Status 202"
    " means that the events are durable. An invalid event does not affect the rest of its batch: it is listed in"
    " `rejected` and kept with its reason. Events with the same `event_id` and `created_at` are duplicates and are"
    " stored once; without a valid `created_at`, the `event_id` alone identifies the event.",
    answers={202: openapi.json_answer("Durable", Answer, Answer([], [], 1, 0))},
    problems=(400, 401, 403, 408, 413, 415, 429, 431, 500, 503),
    parameters=[*openapi.KEY, openapi.COOKIELESS],
    body=openapi.json_body(
        [Batch, list[Event], Event], Batch([EXAMPLE], EXAMPLE.created_at), "application/json", "text/plain"
    ),
)


class EventsEndpoint:
    """Accepts the collector's format: an event, an array of events, or `{"sent_at", "events"}`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, request: Request) -> Response:
        """Answer 202 after the events are durable.

        Raises:
            ProblemError: The request was refused; no event was stored.
        """
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
        envelope = Envelope(SOURCE, opened.events, opened.sent_at, opened.ignored, is_cookieless=opened.is_cookieless)
        receipt = await pipeline.receive(sender, envelope)
        response = Response(_encode(_answer(receipt)), HTTPStatus.ACCEPTED, media_type="application/json")
        if not (sender.is_cookieless or envelope.is_cookieless):
            cookie = set_cookie(scope, headers, sender.site, receipt.user_id)
            if cookie is not None:
                response.headers["Set-Cookie"] = cookie
        return response


def _answer(receipt: Receipt) -> Answer:
    rejected = [RejectedEvent(**one) for one in receipt.rejected]
    if receipt.spooled:
        return Answer(rejected, receipt.ignored, spooled=receipt.spooled)
    return Answer(rejected, receipt.ignored, receipt.accepted, receipt.duplicates)
