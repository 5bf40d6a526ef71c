from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.batches import read_batch
from tests.event_strategies import as_json, broken, events, values
from warehouse.events.enrichment import make_refusal, make_row
from warehouse.events.schema import Limits
from warehouse.events.validation import BatchError, InvalidEventError, open_envelope, parse_event

LIMITS = Limits()
ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


def event(**fields: Any) -> bytes:
    return as_json({"event_id": ID, "event_type": "page_view", **fields})


def code_of(raw: bytes) -> str:
    with pytest.raises(InvalidEventError) as caught:
        parse_event(raw, LIMITS)
    assert 10 < len(caught.value.detail) < 400
    return caught.value.code


def check_batch(body: bytes) -> None:
    """Assert that the body is rejected, or that each element is accepted or rejected as a storable row."""
    try:
        batch = read_batch(body, LIMITS)
    except BatchError:
        return
    assert sorted([*batch.indexes, *(rejection.index for rejection in batch.rejected)]) == list(
        range(len(batch.events) + len(batch.rejected))
    )
    rows = [make_row(e, site_id="s", source="api", address="1.2.3.4", user_agent="x") for e in batch.events]
    rows += [make_refusal(rejection, site_id="s", source="api") for rejection in batch.rejected]
    text = msgspec.json.encode(rows).decode()
    # Postgres cannot store NUL, which JSON writes as \u0000.
    assert "\x00" not in "".join(str(field) for row in rows for field in msgspec.structs.astuple(row))
    assert len(json.loads(text)) == len(rows)
    assert all(len(row.reject_body or "") <= 16_384 and len(row.reject_detail or "") <= 500 for row in rows)


@given(st.one_of(st.lists(st.one_of(events(), values), max_size=5), values).map(as_json))
@settings(max_examples=250, deadline=None)
def test_any_json_is_accepted_or_rejected(body: bytes) -> None:
    check_batch(body)


@given(st.lists(events(), max_size=3).flatmap(lambda batch: broken(as_json({"events": batch, "sent_at": None}))))
@settings(max_examples=250, deadline=None)
def test_any_damaged_body_is_accepted_or_rejected(body: bytes) -> None:
    check_batch(body)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_accepted_or_rejected(body: bytes) -> None:
    check_batch(body)


def test_an_invalid_event_does_not_reject_its_batch() -> None:
    body = b"[" + b",".join([event(), event(event_type=""), b'{"a":1}', b"7", event(user_id="u")]) + b"]"
    batch = read_batch(body, LIMITS)
    assert batch.indexes == [0, 4]
    assert [(r.index, r.event_id, r.code) for r in batch.rejected] == [
        (1, ID, "invalid_event"),
        (2, None, "invalid_event"),
        (3, None, "invalid_event"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'"x"',
        b"[",
        b'{"events":{}}',
        b"[" * 100_000,
        b'{"events":[],"sent_at":"1200-01-01T00:00:00Z"}',
    ],
)
def test_a_body_that_is_not_a_batch_is_rejected(body: bytes) -> None:
    with pytest.raises(BatchError):
        read_batch(body, LIMITS)


def test_a_batch_with_too_many_events_is_rejected() -> None:
    assert len(read_batch(as_json([{}] * LIMITS.max_events), LIMITS).rejected) == LIMITS.max_events
    with pytest.raises(BatchError) as caught:
        read_batch(as_json([{}] * (LIMITS.max_events + 1)), LIMITS)
    assert caught.value.code == "too_many_events"


def test_sent_at_is_read_with_its_utc_offset() -> None:
    opened = open_envelope(b'{"sent_at":"2026-11-22T10:00:00+23:59","events":[]}', LIMITS)
    assert opened.sent_at is not None
    assert opened.sent_at.isoformat() == "2026-11-21T10:01:00+00:00"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (event(event_id="7"), "invalid_event"),
        (event(event_type="e" * 65), "invalid_event"),
        (event(user_id=""), "invalid_event"),
        (event(user_id="u" * 129), "invalid_event"),
        (event(session_id="x"), "invalid_event"),
        (event(payload=[]), "invalid_event"),
        (event(created_at="2026-11-22T10:00:00"), "invalid_event"),
        (event(created_at="20000-01-01T00:00:00Z"), "invalid_event"),
        (event(created_at=1), "invalid_event"),
        (event(created_at="1899-12-31T23:59:59Z"), "time_out_of_range"),
        (event(created_at="2200-01-01T00:00:00Z"), "time_out_of_range"),
        (event(page_title="a\x00b"), "invalid_text"),
        (event(payload={"a": ["\x00"]}), "invalid_text"),
        (event(payload={"\x00": 1}), "invalid_text"),
        (event()[:-1] + b',"page_title":"\\ud83d"}', "invalid_text"),
        (event()[:-1] + b',"payload":{"\\udc00":1}}', "invalid_text"),
        (event()[:-1] + b',"page_title":"\xff"}', "invalid_json"),
        (event()[:-1] + b',"payload":{"a":1e999}}', "invalid_event"),
        (event()[:-1] + b',"payload":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}", "invalid_payload"),
        (event(payload={"a": "x" * LIMITS.max_payload_bytes}), "payload_too_large"),
    ],
)
def test_events_that_cannot_be_stored_are_rejected_with_a_code(raw: bytes, code: str) -> None:
    assert code_of(raw) == code


@pytest.mark.parametrize(
    "unreadable",
    [
        event()[:-1] + rb',"page_title":"\ud800"}',
        event()[:-1] + rb',"page_title":"a, [\"} \udc00"}',
        event()[:-1] + b',"page_title":"\xff"}',
        event()[:-1] + b',"payload":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}",
        event()[:-1] + b',"payload":{"a":NaN}}',
        b"nonsense",
        b"",
    ],
)
@pytest.mark.parametrize("form", [b"[%b]", b' {"sent_at": "2026-11-22T12:00:00Z", "events": [%b] } '])
def test_an_unreadable_event_does_not_affect_its_neighbours(unreadable: bytes, form: bytes) -> None:
    body = form % b" , ".join([event(), unreadable, event(page_title="a,]b")])
    batch = read_batch(body, LIMITS)
    assert batch.indexes == [0, 2]
    assert batch.events[1].page_title == "a,]b"
    assert [rejection.index for rejection in batch.rejected] == [1]
    assert (open_envelope(body, LIMITS).sent_at is None) == form.startswith(b"[")


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"[}",
        b"[]]",
        b'["]',
        b'{"events": [nonsense}',
        b'{"events": nonsense}',
        b'{"sent_at": x, "events": [x]}',
        b"x",
    ],
)
def test_a_body_with_unbalanced_brackets_is_rejected(body: bytes) -> None:
    with pytest.raises(BatchError):
        read_batch(body, LIMITS)


def test_payload_depth_is_limited_and_breadth_is_not() -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"a": nested(levels - 1)} if levels > 1 else {}

    assert parse_event(event(payload=nested(32)), LIMITS).payload is not None
    assert code_of(event(payload=nested(34))) == "invalid_payload"
    assert parse_event(event(payload={"a": [[] for _ in range(200)]}), LIMITS).payload is not None


def test_an_escaped_backslash_before_u0000_is_ordinary_text() -> None:
    assert parse_event(event(page_title="\\u0000"), LIMITS).page_title == "\\u0000"


@pytest.mark.parametrize(
    ("event_type", "good", "bad"),
    [
        ("click", {"click": {"x": 0, "y": -3.5}}, [{}, {"click": {"x": 1}}, {"click": {"x": "1", "y": 1}}]),
        (
            "scroll",
            {"scroll": {"scrollPercent": 100}},
            [{"scroll": {"scrollPercent": p}} for p in (-1, 101, 1.5, True)],
        ),
        ("page_leave", {"timing": {"timeOnPage": 0.4}}, [{"timing": {"timeOnPage": -1}}, {"timing": 3}]),
        ("form_submit", {"form": {}}, [{}, {"form": None}, {"form": []}]),
        ("identify", {"identity": {}}, [{}, {"identity": "x"}]),
    ],
)
def test_each_known_type_requires_its_payload_section(
    event_type: str, good: dict[str, Any], bad: list[dict[str, Any]]
) -> None:
    assert parse_event(event(event_type=event_type, payload=good), LIMITS).event_type == event_type
    for payload in (None, *bad):
        assert code_of(event(event_type=event_type, payload=payload)) == "invalid_payload"
    assert parse_event(event(event_type=f"my_{event_type}", payload=bad[0]), LIMITS)


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        (as_json([json.loads(event()) | {"visit": 1, "color": "red"}, json.loads(event())]), {"visit", "color"}),
        (as_json({"events": [json.loads(event())], "sent_at": None, "batch": 7}), set()),
        (as_json(json.loads(event()) | {"utm_source": "x", "sent_at": "2026-11-22T12:00:00Z"}), {"utm_source"}),
        (as_json([json.loads(event()) | {"x" * 500: 1}]), {"x" * 64}),
        (as_json([json.loads(event()) | {f"f{n}": 1 for n in range(50)}]), {f"f{n}" for n in range(20)}),
        (b"[" + event() + b"]", set()),
    ],
)
def test_unknown_event_fields_are_ignored_and_reported(body: bytes, ignored: set[str]) -> None:
    batch = read_batch(body, LIMITS)
    assert not batch.rejected
    assert batch.ignored == ignored


def test_unknown_envelope_fields_are_reported() -> None:
    assert list(open_envelope(b'{"events":[],"batch":1,"sent_at":null,"x":{}}', LIMITS).ignored) == ["batch", "x"]


def test_a_single_event_is_a_batch_with_sent_at() -> None:
    opened = open_envelope(event()[:-1] + b',"sent_at":"2026-11-22T12:00:00+03:00"}', LIMITS)
    assert opened.sent_at is not None
    assert opened.sent_at.isoformat() == "2026-11-22T09:00:00+00:00"
    assert [str(one.event_id) for one in read_batch(event(), LIMITS).events] == [ID]
    assert read_batch(b'{"event_type":"page_view"}', LIMITS).rejected[0].code == "invalid_event"


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"order": None}, {"order": {}}, {"order": {"id": "o-1", "amount": None}}, {"order": {"amount": 0}}],
)
def test_an_order_may_have_no_amount(payload: dict[str, Any] | None) -> None:
    assert parse_event(event(event_type="purchase", payload=payload), LIMITS).payload == payload


@pytest.mark.parametrize("order", [{"amount": a} for a in (1e13, -1, "5", True, [], {})] + ["o-1", [], 5])  # type: ignore[operator]
def test_an_invalid_order_amount_is_rejected(order: object) -> None:
    assert code_of(event(event_type="purchase", payload={"order": order})) == "invalid_payload"


@pytest.mark.parametrize(
    "order", [{"id": "o-1"}, {"id": 1001}, {"id": "o-1", "amount": None}, {"id": "o", "amount": 9.5}]
)
def test_a_refund_names_its_order(order: dict[str, Any]) -> None:
    payload = {"order": order}
    assert parse_event(event(event_type="refund", payload=payload), LIMITS).payload == payload


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"order": None}, {"order": "o-1"}, {"order": {}}, {"order": {"amount": 5}}]
    + [{"order": {"id": id_}} for id_ in ("", None, True, [], {})]
    + [{"order": {"id": "o-1", "amount": amount}} for amount in (0, -1, 1e13, "5", True, [], {})],
)
def test_a_refund_without_an_order_or_with_an_invalid_amount_is_rejected(payload: dict[str, Any] | None) -> None:
    assert code_of(event(event_type="refund", payload=payload)) == "invalid_payload"
