"""Files of events: JSON Lines of events, with the fields that the ingest API would have added."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from warehouse.events.enrichment import make_rejected_row, make_row
from warehouse.events.ids import uuid_of
from warehouse.events.schema import Event, Limits, Row, Time
from warehouse.events.validation import InvalidEventError, check_event, check_time, decode_event, reject

SOURCE = "import"
_IDS = {"event_id": "event", "session_id": "session", "visit_id": "visit", "tab_id": "tab"}
"""Fields that contain a UUID, with the kind of the UUID that replaces an ID of another form."""
MAX_AHEAD = timedelta(hours=25)


class ImportedEvent(Event, frozen=True):
    """An event with the data that the original server recorded at its arrival."""

    sent_at: Time | None = None
    received_at: Time | None = None
    ip_address: str | None = None
    user_agent: str | None = None


_decode = msgspec.json.Decoder(ImportedEvent).decode
_decode_any = msgspec.json.Decoder().decode


class EventFile:
    """Converts the lines of one file into rows.

    Args:
        site_id: The site that gets the events.
        limits: Limits for an event.
    """

    def __init__(self, site_id: str, limits: Limits) -> None:
        self._site_id = site_id
        self._limits = limits
        self._latest = datetime.now(UTC) + MAX_AHEAD

    def row(self, line: bytes) -> Row:
        """Return the row of a line: an event, or a rejected event with its reason."""
        try:
            return self._row(line)
        except InvalidEventError as error:
            return make_rejected_row(reject(0, line, error), site_id=self._site_id, source=SOURCE)

    def _row(self, line: bytes) -> Row:
        event = self._decode(line)
        check_event(event, line, self._limits)
        check_time("sent_at", event.sent_at)
        check_time("received_at", event.received_at)
        received_at = event.received_at or event.created_at
        created_at = event.created_at or received_at
        if received_at is None or created_at is None:
            raise InvalidEventError("invalid_event", "An imported event needs created_at or received_at.")
        if max(received_at, created_at) > self._latest:
            raise InvalidEventError("time_out_of_range", "The event's time is in the future.")
        row = make_row(
            event, site_id=self._site_id, source=SOURCE, address=event.ip_address, user_agent=event.user_agent
        )
        row.sent_at = event.sent_at
        row.arrived_at = received_at
        return row

    def _decode(self, line: bytes) -> ImportedEvent:
        try:
            return decode_event(line, _decode)
        except InvalidEventError as error:
            fields = decode_event(line, _decode_any)
            if error.code != "invalid_event" or not isinstance(fields, dict):
                raise
        return self._with_uuids(fields)

    def _with_uuids(self, fields: dict[str, Any]) -> ImportedEvent:
        """Return the event with a UUID in place of each ID that is not a UUID.

        The IDs are replaced before the other fields are validated, so that an error names the field at fault.
        """
        if fields.get("event_id") == "":
            raise InvalidEventError("invalid_event", "The event_id is empty.")
        for name, kind in _IDS.items():
            value = fields.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool):
                fields[name] = _as_uuid(kind, self._site_id, str(value))
        try:
            return msgspec.convert(fields, ImportedEvent)
        except msgspec.ValidationError as error:
            raise InvalidEventError("invalid_event", f"{error}.") from error


def _as_uuid(kind: str, site_id: str, text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return uuid_of(kind, site_id, text.encode()) if text else None
