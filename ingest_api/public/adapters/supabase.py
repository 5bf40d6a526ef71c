"""`POST /rest/v1/{events,sessions,users}`: inserts of the Supabase JS client, with PostgREST's answers."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta

from ingest_api.problems import unavailable
from ingest_api.public.adapters.postgrest import Fields, PostgrestError, Table, describe_insert
from ingest_api.public.database import Connection, PostgresError
from ingest_api.public.events import EXAMPLE
from ingest_api.public.pipeline import Envelope, Pipeline, RejectedBatchError, Sender
from warehouse.events.cookieless import is_cookieless
from warehouse.events.profiles import RefusedProfileError, land_profiles
from warehouse.events.schema import MAX_USER_ID, Event, Row

SOURCE = "supabase"
EVENT_FIELDS = frozenset(Event.__struct_fields__)
_CODES = {
    "invalid_event": "22P02",
    "invalid_json": "22P02",
    "invalid_text": "22P05",
    "payload_too_large": "54000",
    "time_out_of_range": "22008",
}


class UserRow(msgspec.Struct):
    """Columns of `users` that a client may set; the database checks their values."""

    user_id: Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID)]
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None


class SessionRow(msgspec.Struct):
    """Columns of `sessions` that a client may set; the database checks their values."""

    session_id: UUID
    user_id: Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID)] | None = None
    started_at: datetime | None = None
    last_seen_at: datetime | None = None
    landing_page: str | None = None
    referrer: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    device_type: str | None = None
    browser: str | None = None
    os: str | None = None


_SERVER_COLUMNS = frozenset({"site_id", "event_count", "is_bot", "updated_at"})
"""Columns that the server fills. A client may name them; its values are ignored."""
_PROFILES: dict[str, tuple[type[msgspec.Struct], msgspec.Struct]] = {
    "users": (UserRow, UserRow(EXAMPLE.user_id or "")),
    "sessions": (
        SessionRow,
        SessionRow(
            session_id=EXAMPLE.session_id or uuid4(),
            user_id=EXAMPLE.user_id,
            started_at=EXAMPLE.created_at,
            landing_page=EXAMPLE.page_url,
            utm_source="newsletter",
        ),
    ),
}
_COMPLETES = (
    "Inserts or upserts all rows or none. In an existing row, only empty columns are filled; no value is changed. The"
    " answer does not tell whether a row existed. While the database cannot be reached, the answer is 503, because only"
    " events are kept on the local disk."
)


class EventsTable(Table):
    """Inserts into `events`. An upsert never changes a stored event: the public key may not update."""

    name = "events"
    description = describe_insert(
        "events",
        "Inserts all rows or none. A stored event (same `event_id` and `created_at`) is not changed.",
        Event,
        EXAMPLE,
    )
    columns = frozenset(Row.__struct_fields__) | EVENT_FIELDS | {"id", "received_at", "loaded_at"}
    conflict_targets = frozenset(
        {"", "event_id", "created_at,event_id", "event_id,created_at", "site_id,created_at,event_id"}
    )

    async def store(self, objects: list[Fields], sender: Sender) -> None:
        """Store all of the events, or none, through the pipeline of `POST /api/events`."""
        envelope = Envelope(SOURCE, [_event_text(fields) for fields in objects], is_atomic=True)
        try:
            receipt = await self._pipeline.receive(sender, envelope)
        except RejectedBatchError as error:
            rejection = error.rejection
            code = _CODES.get(rejection.code, "23514")
            raise PostgrestError(HTTPStatus.BAD_REQUEST, code, rejection.detail) from None
        if receipt.rejected:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "23514", receipt.rejected[0]["detail"] or "refused")


class ProfilesTable(Table):
    """Inserts into `sessions` or `users`. In an existing row, only empty columns are filled.

    The answer is the same for an existing row and a new one, because the public key must not reveal which rows exist.

    Args:
        pipeline: The steps of ingestion.
        name: The table.
        connection: A connection that only profiles use.
    """

    conflict_targets: frozenset[str]

    def __init__(self, pipeline: Pipeline, name: Literal["sessions", "users"], connection: Connection) -> None:
        super().__init__(pipeline)
        key = "session_id" if name == "sessions" else "user_id"
        self.name = name
        row, example = _PROFILES[name]
        self.columns = frozenset(row.__struct_fields__) | _SERVER_COLUMNS
        self.description = describe_insert(name, _COMPLETES, row, example)
        self.conflict_targets = frozenset({"", key, f"site_id,{key}", f"{key},site_id"})
        self._connection = connection

    async def store(self, objects: list[Fields], sender: Sender) -> None:
        """Store the profiles in Postgres; they are never spooled."""
        await self._pipeline.admit(sender, len(objects))
        if sender.is_cookieless or any(map(_names_cookieless_visitor, objects)):
            message = f"cookieless visitors have no rows in {self.name}"
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "23514", message)
        text = msgspec.json.encode(objects).decode(errors="surrogatepass")
        try:
            await self._connection.run(
                lambda connection: land_profiles(connection, self.name, sender.site.site_id, text)
            )
        except RefusedProfileError as error:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, error.code, error.message) from None
        except PostgresError:
            raise unavailable("database_away", "The database cannot be reached; try again later.", 5) from None


def _names_cookieless_visitor(fields: Fields) -> bool:
    try:
        user_id = msgspec.json.decode(fields.get("user_id", b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # Postgres refuses the row
    return isinstance(user_id, str) and is_cookieless(user_id)


def _event_text(fields: Fields) -> bytes:
    """Return the event of a row as JSON. A missing `event_id` is generated, as the column's default would do."""
    event: dict[str, object] = {"event_id": str(uuid4())}
    event.update({name: raw for name, raw in fields.items() if name in EVENT_FIELDS and bytes(raw) != b"null"})
    return msgspec.json.encode(event)
