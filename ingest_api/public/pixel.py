"""`GET /api/pixel.gif`: events of visitors without scripts and of e-mails. The answer is always a GIF."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import msgspec
from fastapi import Request
from fastapi.responses import Response
from msgspec import Meta

from ingest_api.problems import ProblemError
from ingest_api.public import openapi
from ingest_api.public.pipeline import Envelope, Pipeline

SOURCE = "pixel"
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS = {
    "Cache-Control": "no-store, max-age=0",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


class Query(msgspec.Struct):
    """Parameters of the pixel: fields of its event. A new parameter is a new field here, if `Event` has it."""

    event_type: Annotated[str, Meta(description="`page_view` by default.")]
    page_url: Annotated[str, Meta(description="The referring page by default.")]
    page_title: Annotated[str, Meta(description="Title of the page.")]
    referrer: Annotated[str, Meta(description="Where the visitor came from.")]
    user_id: Annotated[str, Meta(description="First-party visitor id.")]
    session_id: Annotated[str, Meta(description="UUID of the session.")]
    event_id: Annotated[str, Meta(description="UUID; the same one is stored once.")]


DESCRIPTION = openapi.describe(
    "An event of a visitor without scripts, or of an e-mail",
    "Always answers a GIF. Global Privacy Control and Do-Not-Track mean that nothing is recorded.",
    answers={200: openapi.plain_answer("A GIF of one pixel", "image/gif")},
    parameters=[*openapi.KEY, *openapi.query_parameters(Query)],
)


class PixelEndpoint:
    """Records a `page_view` (or `event_type`) with the fields of the query; the page is the referring one."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, request: Request) -> Response:
        """Answer the GIF after the event is durable, or at once when it is not taken. HEAD records nothing."""
        # Global Privacy Control and Do-Not-Track mean no.
        is_refused = request.headers.get("sec-gpc") == "1" or request.headers.get("dnt") == "1"
        if request.method == "GET" and not is_refused:
            with contextlib.suppress(ProblemError):  # visitors would see a missing image
                await self._record(request)
        return Response(_GIF, headers=_HEADERS, media_type="image/gif")

    async def _record(self, request: Request) -> None:
        scope = request.scope
        sender = await self._pipeline.authenticate(scope, dict(scope["headers"]))
        query = request.query_params
        event: dict[str, object] = {"event_type": "page_view", "page_url": request.headers.get("referer")}
        if not query.get("event_id"):
            # No sender can resend this event, so the server's clock stands for the sender's, which is not known.
            event |= {"event_id": str(uuid4()), "created_at": datetime.now(UTC)}
        event.update({name: query[name] for name in Query.__struct_fields__ if query.get(name)})
        await self._pipeline.receive(sender, Envelope(SOURCE, [msgspec.json.encode(event)]))
