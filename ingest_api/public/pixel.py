"""`GET /api/pixel.gif`: events of visitors without scripts and of e-mails. The answer is a GIF, whatever happens."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public.pipeline import Intake
from warehouse.events.validation import InvalidEventError, parse_event, reject

SOURCE = "pixel"
FIELDS = ("event_type", "page_url", "page_title", "referrer", "user_id", "session_id", "event_id")
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS = {
    "Cache-Control": "no-store, max-age=0",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


class PixelEndpoint:
    """Records a `page_view` (or `event_type`) with the fields of the query; the page is the referring one."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, request: Request) -> Response:
        """Answer the GIF after the event is durable, or at once when it is not taken."""
        # Global Privacy Control and Do-Not-Track mean no.
        if request.headers.get("sec-gpc") != "1" and request.headers.get("dnt") != "1":
            with contextlib.suppress(ProblemError):  # an image that is missing would be seen
                await self._record(request)
        return Response(_GIF, headers=_HEADERS, media_type="image/gif")

    async def _record(self, request: Request) -> None:
        intake, scope = self._intake, request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        site = await intake.site(scope, headers)
        sender = intake.sender(scope, headers)
        await intake.admit(site, sender, 1)
        arrived_at = datetime.now(UTC)
        query = request.query_params
        event: dict[str, object] = {"event_type": "page_view", "page_url": request.headers.get("referer")}
        if not query.get("event_id"):
            # Nobody can send this one again, so the server's clock may stand for the sender's, which there is not.
            event |= {"event_id": str(uuid4()), "created_at": arrived_at}
        event.update({name: query[name] for name in FIELDS if query.get(name)})
        raw = msgspec.json.encode(event)
        try:
            row = intake.row(parse_event(raw, intake.limits), site, sender, SOURCE, arrived_at)
        except InvalidEventError as refusal:
            row = intake.refusal(reject(0, raw, refusal), site, SOURCE, arrived_at)
        await intake.store([row], SOURCE)
