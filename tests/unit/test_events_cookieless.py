"""Events of cookieless visitors: their ID of one day, and what is removed from them."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from tests.batches import read_batch
from tests.event_strategies import as_json
from warehouse.events.cookieless import is_cookieless, make_cookieless, reject_identify, visitor_id
from warehouse.events.enrichment import make_row
from warehouse.events.schema import Limits
from warehouse.events.validation import BatchError, InvalidEventError, open_envelope, parse_event

ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
SALT = bytes.fromhex("00112233445566778899aabbccddeeff" * 2)
AGENT = "Mozilla/5.0 (X11; Linux)"


def test_the_visitor_id_is_a_hash_of_site_address_and_user_agent() -> None:
    """The expected value is of `openssl dgst -sha256 -mac HMAC` over the three parts, separated by NUL."""
    mine = visitor_id(SALT, "shop", "203.0.113.77", AGENT)
    assert mine == "cookieless.aEV9s1qTffM6Rvre4qa8pG"
    others = {
        visitor_id(SALT, "blog", "203.0.113.77", AGENT),
        visitor_id(SALT, "shop", "203.0.113.78", AGENT),
        visitor_id(SALT, "shop", "203.0.113.77", None),
        visitor_id(bytes(32), "shop", "203.0.113.77", AGENT),
    }
    assert len(others | {mine}) == 5
    assert all(is_cookieless(one) for one in others)
    assert not is_cookieless("c7c0a8f2-8d57-4a59-9a67-1f3b0a2d4e55")
    assert not is_cookieless(None)


def test_a_cookieless_event_keeps_nothing_that_identifies_its_visitor() -> None:
    payload = {"form": {"id": "f1"}, "identity": {"email_sha256": "ab"}, "page_view_id": "p"}
    event = parse_event(
        as_json(
            {"event_id": ID, "event_type": "form_submit", "user_id": "u-1", "payload": payload}
            | dict.fromkeys(("session_id", "visit_id", "tab_id"), ID)
        ),
        Limits(),
    )
    row = make_row(event, site_id="shop", source="api", address="203.0.113.77", user_agent=AGENT)
    assert row.ip_address == "203.0.113.0/24"
    make_cookieless(row, "cookieless.x")
    assert (row.user_id, row.ip_address, row.user_agent) == ("cookieless.x", None, None)
    assert [getattr(row, name, None) for name in ("session_id", "visit_id", "tab_id")] == [None, None, None]
    assert row.payload == {"form": {"id": "f1"}, "page_view_id": "p"}
    assert row.os == "Linux", "device, browser and system were read from the user agent before"
    assert event.payload == payload


def test_identify_events_are_rejected_without_their_content() -> None:
    events = [
        {"event_id": ID, "event_type": "page_view"},
        {"event_id": ID, "event_type": "identify", "payload": {"identity": {"external_id": "anna@example.com"}}},
        {"event_id": "no UUID", "event_type": "click"},
        {"event_id": ID, "event_type": "signup"},
    ]
    batch = read_batch(as_json(events))
    reject_identify(batch)
    assert [event.event_type for event in batch.events] == ["page_view", "signup"]
    assert batch.indexes == [0, 3]
    assert [(one.index, one.code) for one in batch.rejected] == [(1, "cookieless_identify"), (2, "invalid_event")]
    assert (batch.rejected[0].event_id, batch.rejected[0].body) == (ID, "")


@pytest.mark.parametrize("extra", [{}, {"unknown": 1}])
def test_a_client_may_not_send_the_id_of_a_cookieless_visitor(extra: dict[str, int]) -> None:
    raw = as_json({"event_id": ID, "event_type": "page_view", "user_id": "cookieless.x"} | extra)
    with pytest.raises(InvalidEventError) as caught:
        parse_event(raw, Limits())
    assert caught.value.code == "reserved_user_id"
    assert [one.code for one in read_batch(raw).rejected] == ["reserved_user_id"]


def test_the_envelope_says_whether_its_events_are_cookieless() -> None:
    event = {"event_id": ID, "event_type": "page_view"}
    for body, expected in (
        ({"cookieless": True, "events": [event]}, True),
        ({"cookieless": False, "events": [event]}, False),
        ({"events": [event], "unknown": 1, "cookieless": True}, True),
        (event | {"cookieless": True}, True),
        ([event], False),
    ):
        opened = open_envelope(as_json(body), Limits())
        assert opened.is_cookieless is expected, body
        assert "cookieless" not in opened.ignored
    damaged = b'{"cookieless":true,"events":[' + json.dumps(event).encode() + b',{"event_id":nope}]}'
    opened = open_envelope(damaged, Limits())
    assert (opened.is_cookieless, len(opened.events)) == (True, 2)
    with pytest.raises(BatchError):
        open_envelope(as_json({"cookieless": "yes", "events": [event]}), Limits())


def test_the_field_cookieless_of_a_single_event_is_not_unknown() -> None:
    batch = read_batch(as_json({"event_id": ID, "event_type": "page_view", "cookieless": True, "sent_at": None}))
    assert (len(batch.events), batch.ignored) == (1, set())
    assert batch.events[0].event_id == UUID(ID)
