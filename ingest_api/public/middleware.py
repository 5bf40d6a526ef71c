"""The outermost layer of the public application: CORS, request ids, and an answer to every failure.

It stands outside everything else, so that the answers of the framework and of errors carry the same headers: a page
that cannot read a 429 or a 503 never learns when to come back, and its queue never empties.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api.metrics import ANSWERS
from ingest_api.problems import REQUEST_ID, internal_error

FOREIGN_ORIGIN = "tilda.foreign_origin"
"""Set in the scope when the request's origin is none of its site's: the answer then names no allowed origin."""

_log = logging.getLogger(__name__)
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_EXPOSED = (b"access-control-expose-headers", b"Retry-After, X-Request-Id, Location, Content-Range")
_METHODS = (b"access-control-allow-methods", b"GET, POST, OPTIONS")
_MAX_AGE = (b"access-control-max-age", b"86400")
# Only for collectors that let the server keep the visitor's id in a cookie; answers hold nothing that is secret.
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_VARY = (b"vary", b"Origin")
# What a preflight may ask for besides what it names itself: enough for supabase-js and for servers with keys.
_DEFAULT_HEADERS = b"apikey, authorization, content-type, prefer, x-client-info, content-profile, accept-profile"
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")


class Edge:
    """ASGI middleware. Wrap the finished application in it, not `add_middleware`: nothing may stand outside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        asked_id = headers.get(b"x-request-id")
        if asked_id is not None and _SAFE_ID.fullmatch(asked_id):
            request_id = asked_id
        else:
            request_id = f"{self._prefix}-{next(self._numbers):x}".encode()
        scope[REQUEST_ID] = request_id.decode()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id), *_cors(scope, origin)]
            await send(message)

        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _answer_preflight(headers.get(b"access-control-request-headers"), send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:  # noqa: BLE001 - its page must be able to read the answer to every request
            _log.exception("request failed", extra={"request_id": scope[REQUEST_ID], "path": scope["path"]})
            if not status:
                await internal_error(scope[REQUEST_ID]).response()(scope, receive, send_with_headers)
        ANSWERS.labels(status).inc()
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            details = {"request_id": scope[REQUEST_ID], "path": scope["path"], "status": status}
            _log.warning("request not served", extra=details)


def _cors(scope: Scope, origin: bytes | None) -> list[tuple[bytes, bytes]]:
    if origin is None or scope.get(FOREIGN_ORIGIN):
        return [_VARY]
    headers = [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]
    return [*headers, _CREDENTIALS] if b"cookie=1" in scope["query_string"] else headers


async def _answer_preflight(asked: bytes | None, send: Send) -> None:
    """A preflight does not carry the site's key as a rule, so the request itself is what is checked for its origin."""
    allowed = asked if asked is not None and _HEADER_NAMES.fullmatch(asked) else _DEFAULT_HEADERS
    headers = [_METHODS, (b"access-control-allow-headers", allowed), _MAX_AGE, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
