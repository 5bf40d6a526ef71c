from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.event_strategies import as_json
from warehouse.events.event_file import EventFile
from warehouse.events.schema import Limits, Row

ID, SESSION = "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b811-9dad-41d1-80b4-00c04fd430c8"
AT = "2024-02-29T23:00:00-05:00"


def row_of(site_id: str = "shop", **fields: Any) -> Row:
    return EventFile(site_id, Limits()).row(
        as_json({"event_id": ID, "event_type": "page_view", "created_at": AT} | fields)
    )


def test_a_line_holds_an_event_and_its_collection_metadata() -> None:
    row = row_of(
        session_id=SESSION,
        user_id="u",
        sent_at="2024-03-01T04:00:05Z",
        received_at="2024-03-01T04:00:06Z",
        ip_address="203.0.113.77",
        user_agent="Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        payload={"a": 1},
    )
    assert (row.event_id, row.session_id) == (UUID(ID), UUID(SESSION))
    assert row.client_created_at == datetime(2024, 3, 1, 4, tzinfo=UTC)
    assert row.client_created_at.tzinfo is UTC
    assert row.sent_at == datetime(2024, 3, 1, 4, 0, 5, tzinfo=UTC)
    assert row.arrived_at == datetime(2024, 3, 1, 4, 0, 6, tzinfo=UTC)
    assert (row.ip_address, row.is_bot, row.source, row.payload) == ("203.0.113.0/24", True, "import", {"a": 1})


def test_a_missing_arrival_time_defaults_to_created_at() -> None:
    assert row_of().arrived_at == datetime(2024, 3, 1, 4, tzinfo=UTC)
    without = row_of(created_at=None, received_at=AT)
    assert (without.client_created_at, without.arrived_at) == (None, datetime(2024, 3, 1, 4, tzinfo=UTC))


def test_other_ids_become_deterministic_uuids() -> None:
    row = row_of(event_id="order-7", session_id=12345)
    again = row_of(event_id="order-7", session_id="12345")
    assert (row.event_id, row.session_id) == (again.event_id, again.session_id)
    assert row.event_id is not None
    assert row.session_id is not None
    assert (row.event_id.version, row.session_id.version) == (5, 5)
    assert row_of(event_id="order-8").event_id != row.event_id
    assert row_of("other", event_id="order-7").event_id != row.event_id
    assert row_of(event_id=7, session_id="7").event_id != row_of(event_id=7, session_id="7").session_id
    assert row_of(event_id=ID.upper(), session_id="x").event_id == UUID(ID)
    assert row_of(session_id="").session_id is None
    named = row_of(session_id="7", visit_id=7, tab_id="7")
    assert named == row_of(session_id=7, visit_id="7", tab_id=7)
    assert len({named.session_id, named.visit_id, named.tab_id, None}) == 4
    assert row_of(visit_id=SESSION, tab_id=None).visit_id == UUID(SESSION)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"event_id": None}, "invalid_event"),
        ({"event_id": ""}, "invalid_event"),
        ({"event_id": True}, "invalid_event"),
        ({"event_id": 1.5}, "invalid_event"),
        ({"created_at": None}, "invalid_event"),
        ({"created_at": "2024-02-30T00:00:00Z"}, "invalid_event"),
        ({"created_at": "1700-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"sent_at": "1700-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"received_at": "2300-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"created_at": (datetime.now(UTC) + timedelta(days=3)).isoformat()}, "time_out_of_range"),
        ({"event_id": "order-7", "event_type": "click"}, "invalid_payload"),
        ({"event_id": "order-7", "user_id": 5}, "invalid_event"),
        ({"page_title": "\x00"}, "invalid_text"),
        ({"payload": {"a": "x" * 11_000}}, "payload_too_large"),
    ],
)
def test_bad_lines_are_rejected_with_the_reason(fields: dict[str, Any], code: str) -> None:
    row = row_of(**fields)
    assert (row.reject_code, row.event_id, row.site_id, row.source) == (code, None, "shop", "import")
    assert row.reject_body is not None
    assert row.reject_body.startswith("{")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"created_at": "yesterday"}, "Invalid RFC3339 encoded datetime - at `$.created_at`."),
        ({"created_at": "2024-01-01T00:00:00"}, "Expected `datetime` with a timezone component - at `$.created_at`."),
        ({"user_id": 5}, "Expected `str | null`, got `int` - at `$.user_id`."),
        ({"payload": "x"}, "Expected `object | null`, got `str` - at `$.payload`."),
        ({"event_type": ""}, "Expected `str` of length >= 1 - at `$.event_type`."),
        ({"session_id": 1.5}, "Expected `uuid | null`, got `float` - at `$.session_id`."),
        ({"user_agent": ["x"]}, "Expected `str | null`, got `array` - at `$.user_agent`."),
        ({"sent_at": "noon", "session_id": "session 9"}, "Invalid RFC3339 encoded datetime - at `$.sent_at`."),
        ({"event_id": ""}, "The event_id is empty."),
    ],
)
def test_the_invalid_field_is_named_when_the_id_is_not_a_uuid(fields: dict[str, Any], detail: str) -> None:
    assert row_of(**{"event_id": "order-7"} | fields).reject_detail == detail


def test_invalid_text_is_reported_when_the_id_is_not_a_uuid() -> None:
    row = EventFile("shop", Limits()).row(b'{"event_id": "order-7", "event_type": "click", "page_title": "\\ud800"}')
    assert (row.reject_code, row.reject_detail) == ("invalid_text", "Half a surrogate pair cannot be stored.")


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"null", b"\xff", b"event_id,event_type", b'{"a":"\\ud800"}', b"[" * 9000]
)
def test_lines_that_are_not_events_are_rejected(line: bytes) -> None:
    row = EventFile("shop", Limits()).row(line)
    assert row.reject_code is not None
    assert row.reject_body
