"""`GET /api/pixel.gif`: events of e-mails and of browsers without JavaScript. The answer is always a GIF."""

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
    """Query parameters of the pixel.

    `_record` copies each parameter to the event field of the same name. To store a value in the payload instead, set
    it in `_record`: the API drops unknown fields at the top level of an event.
    """

    event_type: Annotated[str, Meta(description="`page_view` by default.")]
    page_url: Annotated[str, Meta(description="The referring page by default.")]
    page_title: Annotated[str, Meta(description="Title of the page.")]
    referrer: Annotated[str, Meta(description="Page that the visitor came from.")]
    user_id: Annotated[str, Meta(description="First-party visitor ID.")]
    session_id: Annotated[str, Meta(description="UUID of the session.")]
    event_id: Annotated[str, Meta(description="UUID; events with the same UUID are stored once.")]


DESCRIPTION = openapi.describe(
    "Record an event of an e-mail or of a browser without JavaScript",
    "Always answers with a GIF. A browser that sends Global Privacy Control or Do-Not-Track is not recorded, unless the"
    " site's settings ignore these signals.",
    answers={200: openapi.plain_answer("A GIF of one pixel", "image/gif")},
    parameters=[*openapi.KEY, openapi.COOKIELESS, *openapi.query_parameters(Query)],
)


class PixelEndpoint:
    """Records a `page_view` (or `event_type`) from the query; the page defaults to the `Referer` header."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, request: Request) -> Response:
        """Answer with the GIF, after the event is durable or refused. HEAD records nothing."""
        if request.method == "GET":
            with contextlib.suppress(ProblemError):  # an error would show as a broken image
                await self._record(request)
        return Response(_GIF, headers=_HEADERS, media_type="image/gif")

    async def _record(self, request: Request) -> None:
        scope = request.scope
        sender = await self._pipeline.authenticate(scope, dict(scope["headers"]))
        if sender.site.collector.privacy_signals and _sends_refusal(request):
            return
        query = request.query_params
        event: dict[str, object] = {"event_type": "page_view", "page_url": request.headers.get("referer")}
        if not query.get("event_id"):
            # The sender's clock is unknown. The server's time is safe: without an event ID no request is a retry.
            event |= {"event_id": str(uuid4()), "created_at": datetime.now(UTC)}
        event.update({name: query[name] for name in Query.__struct_fields__ if query.get(name)})
        await self._pipeline.receive(sender, Envelope(SOURCE, [msgspec.json.encode(event)]))


def _sends_refusal(request: Request) -> bool:
    """Return True if the browser sends Global Privacy Control or Do-Not-Track."""
    return request.headers.get("sec-gpc") == "1" or request.headers.get("dnt") == "1"
