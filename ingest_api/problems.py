"""Errors of both applications as RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from msgspec import Meta
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "tilda.request_id"
"""Key of the ASGI scope."""


class Problem(msgspec.Struct):
    """A problem document (RFC 9457)."""

    type: Annotated[str, Meta(examples=["urn:tilda:problem:unknown_key"])]
    title: Annotated[str, Meta(examples=["Unauthorized"])]
    status: Annotated[int, Meta(examples=[401])]
    code: Annotated[str, Meta(description="A stable name.", examples=["unknown_key"])]
    detail: Annotated[str, Meta(description="One sentence with the remedy.", examples=["No site has this key."])]


class ProblemError(Exception):
    """An error that is answered with a problem document.

    Args:
        status: HTTP status.
        code: A stable name; the last part of the document's `type`.
        detail: One sentence with the remedy.
        retry_after: Seconds after which the same request may succeed.
        headers: Additional headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)

    def response(self) -> Response:
        """Return the problem document."""
        return Response(
            msgspec.json.encode(
                Problem(
                    type=f"urn:tilda:problem:{self.code}",
                    title=HTTPStatus(self.status).phrase,
                    status=self.status,
                    code=self.code,
                    detail=self.detail,
                )
            ),
            self.status,
            self.headers,
            MEDIA_TYPE,
        )


def unavailable(code: str, detail: str, retry_after: int) -> ProblemError:
    """Return a 503 error: the sender must keep its events and retry after `retry_after` seconds."""
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, code, detail, retry_after=retry_after)


def internal_error(request_id: str) -> ProblemError:
    """Return a 500 error: the server failed; the sender may retry."""
    detail = f"The server failed. Its log has the cause under the request ID {request_id}."
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail, retry_after=10)


async def _on_unexpected(request: Request, _: Exception) -> Response:
    return internal_error(request.scope.get(REQUEST_ID, "-")).response()


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    return ProblemError(error.status_code, code, f"{error.detail}.", headers=error.headers).response()


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", f"{where}: {first['msg']}.").response()


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses for the problem documents of an operation, by status."""
    _, components = msgspec.json.schema_components([Problem])
    schema = components[Problem.__name__]
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
