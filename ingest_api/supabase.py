"""`POST /rest/v1/{events,sessions,users}`: inserts of the Supabase JS client, answered as PostgREST answers them.

A request is atomic: 201 and an empty body, or 400 in PostgREST's error JSON and nothing stored. The public key cannot
read, so whatever would return rows is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import uuid4

import msgspec
from fastapi import Request
from fastapi.responses import Response

from ingest_api.intake import Intake
from ingest_api.problems import ProblemError
from ingest_api.requests import read_body
from ingest_api.sites import Site
from warehouse.events.schema import Event, Row
from warehouse.events.validation import InvalidEventError, parse_event

SOURCE = "supabase"

EVENT_FIELDS = frozenset(Event.__struct_fields__)
# Columns that the table has and the server fills itself: taken, and not believed.
SERVER_FIELDS = frozenset(Row.__struct_fields__) - EVENT_FIELDS | {"id", "received_at", "loaded_at"}
CONFLICT_TARGETS = frozenset({"", "event_id", "created_at,event_id", "event_id,created_at"})
# Values keep their text: it is checked once, by the schema of events.
_Fields = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Fields | list[_Fields]).decode
_COLUMN = re.compile(r'"?([A-Za-z_][A-Za-z0-9_]{0,62})"?')


class PostgrestError(Exception):
    """An error as PostgREST writes it.

    Args:
        status: HTTP status.
        code: PostgreSQL's or PostgREST's code.
        message: What is wrong.
        hint: What to do about it.
    """

    def __init__(self, status: int, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The error's JSON."""
        body = {"code": self.code, "details": None, "hint": self.hint, "message": self.message}
        return Response(msgspec.json.encode(body), self.status, dict(headers or {}), "application/json")


def _cannot_read(table: str) -> PostgrestError:
    return PostgrestError(
        HTTPStatus.UNAUTHORIZED, "42501", f"permission denied for table {table}", "The public key may insert only."
    )


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the headers and the query ask for."""

    columns: frozenset[str] | None
    returns_rows: bool


class SupabaseEvents:
    """Inserts into `events`. Known ids are left as they are, with either resolution: the public key cannot update."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, request: Request) -> Response:
        """Answer 201 after the rows are durable."""
        try:
            await self._insert(request)
        except PostgrestError as error:
            return error.response()
        except ProblemError as problem:
            # Whole answers of ours (a key that is unknown, a bound) in the form that this client can show.
            error = PostgrestError(problem.status, problem.code, problem.detail)
            return error.response(problem.headers)
        return Response(status_code=HTTPStatus.CREATED, headers={"Content-Range": "*/*"})

    async def read(self, _: Request) -> Response:
        """Refuse to read, as PostgREST does without the right."""
        return _cannot_read("events").response()

    async def _insert(self, request: Request) -> None:
        intake, scope = self._intake, request.scope
        headers: dict[bytes, bytes] = dict(scope["headers"])
        site = await intake.site(scope, headers)
        wish = _read_wish(request)
        if wish.returns_rows:
            raise _cannot_read("events")
        media_type = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise PostgrestError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "PGRST102", "None of these media types are available."
            )
        body = await read_body(request.receive, headers, intake.max_request_bytes)
        arrived_at = datetime.now(UTC)
        objects = _read_objects(body, wish.columns)
        if len(objects) > intake.limits.max_events:
            raise PostgrestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "54000", f"at most {intake.limits.max_events} rows at once"
            )
        sender = intake.sender(scope, headers)
        await intake.admit(site, sender, len(objects))
        rows: list[Row] = []
        for fields in objects:
            try:
                event = parse_event(_event_text(fields, site), intake.limits)
            except InvalidEventError as error:
                raise PostgrestError(HTTPStatus.BAD_REQUEST, _CODES.get(error.code, "23514"), error.detail) from None
            rows.append(intake.row(event, site, sender, SOURCE, arrived_at))
        outcome = await intake.store(rows, SOURCE)
        if outcome.refused:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "23514", outcome.refused[0].reject_detail or "refused")


_CODES = {
    "invalid_event": "22P02",
    "invalid_json": "22P02",
    "invalid_text": "22P05",
    "payload_too_large": "54000",
    "time_out_of_range": "22008",
}


def _read_wish(request: Request) -> _Wish:
    headers, query = request.headers, request.query_params
    if headers.get("content-profile", "public") != "public":
        raise PostgrestError(
            HTTPStatus.NOT_ACCEPTABLE, "PGRST106", "Invalid schema", "Only the following schemas are exposed: public"
        )
    target = query.get("on_conflict", "").replace(" ", "").replace('"', "")
    if target not in CONFLICT_TARGETS:
        raise PostgrestError(
            HTTPStatus.BAD_REQUEST,
            "42P10",
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        )
    columns = None
    if query.get("columns"):
        names = [_COLUMN.fullmatch(part.strip()) for part in query["columns"].split(",")]
        if None in names:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST100", '"failed to parse columns parameter"')
        columns = frozenset(name[1] for name in names if name is not None)
    preferences = headers.get("prefer", "").replace(" ", "").split(",")
    return _Wish(columns, "return=representation" in preferences or "select" in query)


def _read_objects(body: bytes, columns: frozenset[str] | None) -> list[_Fields]:
    try:
        decoded = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST102", "Empty or invalid json") from None
    objects = decoded if isinstance(decoded, list) else [decoded]
    if columns is None and len({frozenset(item) for item in objects}) > 1:
        raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST102", "All object keys must match")
    named = columns if columns is not None else frozenset(objects[0]) if objects else frozenset[str]()
    unknown = sorted(named - EVENT_FIELDS - SERVER_FIELDS)
    if unknown:
        name = unknown[0][:63].encode(errors="replace").decode()
        message = f"Could not find the '{name}' column of 'events' in the schema cache"
        raise PostgrestError(HTTPStatus.BAD_REQUEST, "PGRST204", message)
    return [{name: item[name] for name in named if name in item} for item in objects]


def _event_text(fields: _Fields, site: Site) -> bytes:
    """The event of a row. `event_id` has a default, as the column has."""
    if bytes(fields.get("site_id", b"null")) not in {b"null", msgspec.json.encode(site.site_id)}:
        raise PostgrestError(
            HTTPStatus.UNAUTHORIZED, "42501", 'new row violates row-level security policy for table "events"'
        )
    event: dict[str, object] = {"event_id": str(uuid4())}
    event.update({name: raw for name, raw in fields.items() if name in EVENT_FIELDS and bytes(raw) != b"null"})
    return msgspec.json.encode(event)
