"""The outermost layer of the public application: CORS, request IDs, a limit on headers, an answer to every failure.

It wraps everything else, so that error answers carry CORS headers too: a page that cannot read a 429 or a 503 does not
know when to retry, and its queue never drains.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api.problems import REQUEST_ID, ProblemError, internal_error
from ingest_api.public.client_address import TrustedProxies
from ingest_api.public.metrics import ANSWERS
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.requests import ClientGoneError
from ingest_api.public.sites import MAX_ORIGIN_BYTES

MAX_HEADER_BYTES = 8_192
"""Maximum total size of a request's header names and values, about the default of nginx and Apache."""
FOREIGN_ORIGIN = "tilda.foreign_origin"
"""Key of the ASGI scope, set if the page's origin does not belong to the site. The answer then has no CORS headers."""
CLIENT_GONE = 499
"""nginx's status for a client that closed the connection before the answer. It is counted, never sent."""

_log = logging.getLogger(__name__)
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_EXPOSED = (b"access-control-expose-headers", b"Retry-After, X-Request-Id, Location, Content-Range")
_METHODS = (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
_MAX_AGE = (b"access-control-max-age", b"86400")
# Only for collectors that let the server keep the visitor ID in a cookie. Answers contain no secrets.
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_VARY = (b"vary", b"Origin")
# Allowed when a preflight names no headers, or invalid ones: the headers that supabase-js sends.
_DEFAULT_HEADERS = b"apikey, authorization, content-type, prefer, x-client-info, content-profile, accept-profile"
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")


class OuterMiddleware:
    """ASGI middleware. Wrap the finished application in it instead of calling `add_middleware`: it must be outermost.

    Args:
        app: The application.
        proxies: Peers whose `X-Forwarded-Proto` is trusted.
        warnings: Counter of answers.
    """

    def __init__(self, app: ASGIApp, proxies: TrustedProxies, warnings: OperatorWarnings) -> None:
        self._app = app
        self._proxies = proxies
        self._warnings = warnings
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is not None and len(origin) > MAX_ORIGIN_BYTES:
            origin = None  # no browser sends such an origin, so the answer does not repeat it
        request_id = self._request_id(headers.get(b"x-request-id"))
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
        self._set_scheme(scope, headers.get(b"x-forwarded-proto"))
        try:
            if _size(scope["headers"]) > MAX_HEADER_BYTES:
                await _headers_too_large().response()(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except ClientGoneError:
            status = CLIENT_GONE
        except Exception:  # noqa: BLE001 - logged, and answered below
            _log.exception("request failed", extra={"request_id": scope[REQUEST_ID], "path": scope["path"]})
            if not status:  # no answer was started yet
                await internal_error(scope[REQUEST_ID]).response()(scope, receive, send_with_headers)
        self._count(scope, status)

    def _request_id(self, asked: bytes | None) -> bytes:
        """Return the sender's ID for this request if it is safe to log, else a new ID."""
        if asked is not None and _SAFE_ID.fullmatch(asked):
            return asked
        return f"{self._prefix}-{next(self._numbers):x}".encode()

    def _count(self, scope: Scope, status: int) -> None:
        ANSWERS.labels(status).inc()
        self._warnings.answered(status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            details = {"request_id": scope[REQUEST_ID], "path": scope["path"], "status": status}
            _log.warning("request not served", extra=details)

    def _set_scheme(self, scope: Scope, forwarded: bytes | None) -> None:
        """Set the scheme that a trusted proxy forwards, so that redirects keep https."""
        client: tuple[str, int] | None = scope["client"]
        if forwarded in {b"http", b"https"} and client is not None and self._proxies.trusts(client[0]):
            scope["scheme"] = forwarded.decode()


def _size(headers: Iterable[tuple[bytes, bytes]]) -> int:
    return sum([len(name) + len(value) for name, value in headers])


def _headers_too_large() -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        f"The request's headers exceed {MAX_HEADER_BYTES:,} bytes together; send fewer.",
    )


def _cors(scope: Scope, origin: bytes | None) -> list[tuple[bytes, bytes]]:
    if origin is None or scope.get(FOREIGN_ORIGIN):
        return [_VARY]
    headers = [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]
    return [*headers, _CREDENTIALS] if b"cookie=1" in scope["query_string"] else headers


async def _answer_preflight(asked: bytes | None, send: Send) -> None:
    """Answer a preflight. Its origin is not checked, because it rarely carries the site's key; the request's is."""
    allowed = asked if asked is not None and _HEADER_NAMES.fullmatch(asked) else _DEFAULT_HEADERS
    headers = [_METHODS, (b"access-control-allow-headers", allowed), _MAX_AGE, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
