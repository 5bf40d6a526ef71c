"""Inserts in PostgREST's protocol: its request options, answers and errors.

A request is atomic: either 201 with an empty body, or an error in PostgREST's JSON and no row is stored. The public key
may not read, so requests that would return rows are refused.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public import openapi
from ingest_api.public.pipeline import Pipeline, Sender
from ingest_api.public.requests import read_body

# Values stay JSON text, which the code that stores them validates.
Fields = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(Fields | list[Fields]).decode
_COLUMN = re.compile(r'"?([A-Za-z_][A-Za-z0-9_]{0,62})"?')


class ErrorBody(msgspec.Struct):
    """An error in PostgREST's JSON format."""

    code: str
    message: str
    details: None = None
    hint: str | None = None


class PostgrestError(Exception):
    """An error that is answered in PostgREST's JSON format.

    Args:
        status: HTTP status.
        code: PostgreSQL's or PostgREST's error code.
        message: Description of the error.
        hint: The remedy.
    """

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """Return the error as a JSON response."""
        body = ErrorBody(self.code, self.message, hint=self.hint)
        return Response(msgspec.json.encode(body), self.status, dict(headers or {}), "application/json")


async def unknown_table(request: Request) -> Response:
    """Answer a request for a table that is not exposed, as PostgREST does."""
    name = request.path_params["name"][:63]
    message = f"Could not find the table 'public.{name}' in the schema cache"
    hint = "The public key may insert into events, sessions and users."
    return PostgrestError(HTTPStatus.NOT_FOUND, "PGRST205", message, hint).response()


async def unknown_function(request: Request) -> Response:
    """Answer a remote procedure call (`.rpc()`) as PostgREST does for an unknown function."""
    name = request.path_params["name"][:63]
    message = f"Could not find the function public.{name} in the schema cache"
    return PostgrestError(HTTPStatus.NOT_FOUND, "PGRST202", message, "No function is exposed.").response()


_ERROR = openapi.json_answer(
    "An error in PostgREST's format; no row was stored",
    ErrorBody,
    ErrorBody("23514", "payload.click must be an object."),
)
REFUSAL = openapi.describe("Reading is refused", answers={401: _ERROR})


def describe_insert(table: str, description: str, row: type[msgspec.Struct], example: object) -> openapi.Description:
    """Describe the insert into a table for OpenAPI; the fields of `row` are the columns."""
    errors = dict.fromkeys((400, 401, 403, 406, 408, 413, 415, 429, 503), _ERROR)
    described = openapi.describe(
        f"Insert {table} with the Supabase client",
        description,
        answers={201: openapi.plain_answer("Durable")} | errors,
        parameters=[
            openapi.header("apikey"),
            openapi.header("prefer"),
            {"name": "columns", "in": "query", "schema": {"type": "string"}},
            {"name": "on_conflict", "in": "query", "schema": {"type": "string"}},
            openapi.COOKIELESS,
        ],
        body=openapi.json_body([row, list[row]], example),
    )
    return described | {"response_class": Response}


class Table(ABC):
    """A table that the public key may insert into.

    Args:
        pipeline: The steps of ingestion.
    """

    name: str
    description: openapi.Description
    columns: frozenset[str]
    """Columns that a client may name. The client's values for columns that the server fills are ignored."""
    conflict_targets: frozenset[str]

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @abstractmethod
    async def store(self, objects: list[Fields], sender: Sender) -> None:
        """Make all of the rows durable, or none.

        Raises:
            PostgrestError: A row is invalid.
            ProblemError: A rate limit is exceeded (429), or rows cannot be stored now (503).
        """

    async def __call__(self, request: Request) -> Response:
        """Answer 201 after the rows are durable."""
        try:
            await self._insert(request)
        except PostgrestError as error:
            return error.response()
        except ProblemError as problem:
            # Convert an error of the pipeline (unknown key, rate limit) into the format that this client can show.
            error = PostgrestError(problem.status, problem.code, problem.detail)
            return error.response(problem.headers)
        return Response(status_code=HTTPStatus.CREATED, headers={"Content-Range": "*/*"})

    async def refuse(self, _: Request) -> Response:
        """Refuse to read, update or delete, as PostgREST does without the privilege."""
        return self._no_permission().response()

    async def _insert(self, request: Request) -> None:
        pipeline, scope = self._pipeline, request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        sender = await pipeline.authenticate(scope, headers)
        columns = self._check_options(request)
        media_type = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise PostgrestError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "PGRST102", "None of these media types are available."
            )
        body = await read_body(request.receive, headers, pipeline.max_request_bytes)
        objects = self._read_objects(body, columns)
        most = pipeline.limits.max_events
        if len(objects) > most:
            raise PostgrestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "54000", f"at most {most} rows at once")
        own = {b"null", msgspec.json.encode(sender.site.site_id)}
        if any(bytes(fields.pop("site_id", b"null")) not in own for fields in objects):
            await pipeline.admit(sender, len(objects))
            raise PostgrestError(
                HTTPStatus.UNAUTHORIZED, "42501", f'new row violates row-level security policy for table "{self.name}"'
            )
        await self.store(objects, sender)

    def _no_permission(self) -> PostgrestError:
        return PostgrestError(
            HTTPStatus.UNAUTHORIZED,
            "42501",
            f"permission denied for table {self.name}",
            "The public key may insert only.",
        )

    def _check_options(self, request: Request) -> frozenset[str] | None:
        """Check the options in headers and query; return the columns of `?columns=`, or None without it."""
        headers, query = request.headers, request.query_params
        if headers.get("content-profile", "public") != "public":
            raise PostgrestError(
                HTTPStatus.NOT_ACCEPTABLE,
                "PGRST106",
                "Invalid schema",
                "Only the following schemas are exposed: public",
            )
        if query.get("on_conflict", "").replace(" ", "").replace('"', "") not in self.conflict_targets:
            raise PostgrestError(
                HTTPStatus.BAD_REQUEST,
                "42P10",
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            )
        if "return=representation" in headers.get("prefer", "").replace(" ", "").split(",") or "select" in query:
            raise self._no_permission()
        if not query.get("columns"):
            return None
        names = [_COLUMN.fullmatch(part.strip()) for part in query["columns"].split(",")]
        if None in names:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST100", '"failed to parse columns parameter"')
        return frozenset(name[1] for name in names if name is not None)

    def _read_objects(self, body: bytes, columns: frozenset[str] | None) -> list[Fields]:
        try:
            decoded = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST102", "Empty or invalid json") from None
        objects = decoded if isinstance(decoded, list) else [decoded]
        if columns is None and len({frozenset(item) for item in objects}) > 1:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST102", "All object keys must match")
        named = columns if columns is not None else frozenset(objects[0]) if objects else frozenset[str]()
        unknown = sorted(named - self.columns)
        if unknown:
            name = unknown[0][:63].encode(errors="replace").decode()
            message = f"Could not find the '{name}' column of '{self.name}' in the schema cache"
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST204", message)
        return [{name: item[name] for name in named if name in item} for item in objects]
