"""`POST /rest/v1/{events,sessions,users}`: inserts of the Supabase JS client, answered as PostgREST answers them."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal
from uuid import uuid4

import msgspec

from ingest_api.intake import Intake, Sender
from ingest_api.postgres import Connection, RefusedError
from ingest_api.postgrest import Fields, PostgrestError, Table
from ingest_api.problems import unavailable
from ingest_api.sites import PostgresAwayError, Site
from warehouse.events.schema import Event, Row
from warehouse.events.validation import InvalidEventError, parse_event

SOURCE = "supabase"
EVENT_FIELDS = frozenset(Event.__struct_fields__)
_CODES = {
    "invalid_event": "22P02",
    "invalid_json": "22P02",
    "invalid_text": "22P05",
    "payload_too_large": "54000",
    "time_out_of_range": "22008",
}


class EventsTable(Table):
    """Inserts into `events`. With either resolution, a stored event stays as it is: the public key cannot update."""

    name = "events"
    columns = frozenset(Row.__struct_fields__) | EVENT_FIELDS | {"id", "received_at", "loaded_at"}
    conflict_targets = frozenset(
        {"", "event_id", "created_at,event_id", "event_id,created_at", "site_id,created_at,event_id"}
    )

    async def store(self, objects: list[Fields], site: Site, sender: Sender) -> None:
        """Land them as `POST /api/events` does, or spool them."""
        intake = self._intake
        arrived_at = datetime.now(UTC)
        rows: list[Row] = []
        for fields in objects:
            try:
                event = parse_event(_event_text(fields), intake.limits)
            except InvalidEventError as error:
                raise PostgrestError(HTTPStatus.BAD_REQUEST, _CODES.get(error.code, "23514"), error.detail) from None
            rows.append(intake.row(event, site, sender, SOURCE, arrived_at))
        outcome = await intake.store(rows, SOURCE)
        if outcome.refused:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, "23514", outcome.refused[0].reject_detail or "refused")


class ProfilesTable(Table):
    """Inserts into `sessions` or `users`. A known row is completed where it is empty, never changed.

    The answer is the same for a known row and a new one: the public key must not learn which there are.

    Args:
        intake: What all ways in share.
        name: The table.
        connection: One for profiles alone.
    """

    conflict_targets: frozenset[str]

    def __init__(self, intake: Intake, name: Literal["sessions", "users"], connection: Connection) -> None:
        super().__init__(intake)
        key = "session_id" if name == "sessions" else "user_id"
        self.name = name
        self.columns = _PROFILE_COLUMNS[name]
        self.conflict_targets = frozenset({"", key, f"site_id,{key}", f"{key},site_id"})
        self._connection = connection

    async def store(self, objects: list[Fields], site: Site, sender: Sender) -> None:  # noqa: ARG002
        """Land them; there is no spool for profiles."""
        text = msgspec.json.encode(objects).decode(errors="surrogatepass")
        try:
            await self._connection.land_profiles(self.name, site.site_id, text)
        except RefusedError as error:
            raise PostgrestError(HTTPStatus.BAD_REQUEST, error.code, error.message) from None
        except PostgresAwayError:
            raise unavailable("database_away", "The database is away; try again later.", 5) from None


_TIMES_AND_COUNTERS = {"site_id", "user_id", "last_seen_at", "event_count", "updated_at"}
_PROFILE_COLUMNS = {
    "users": frozenset(_TIMES_AND_COUNTERS | {"first_seen_at"}),
    "sessions": frozenset(
        _TIMES_AND_COUNTERS
        | {"session_id", "started_at", "landing_page", "referrer", "is_bot", "device_type", "browser", "os"}
        | {"utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"}
    ),
}


def _event_text(fields: Fields) -> bytes:
    """The event of a row. `event_id` has a default, as the column has."""
    event: dict[str, object] = {"event_id": str(uuid4())}
    event.update({name: raw for name, raw in fields.items() if name in EVENT_FIELDS and bytes(raw) != b"null"})
    return msgspec.json.encode(event)
