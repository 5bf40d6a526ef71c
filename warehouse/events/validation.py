"""Parses and validates a batch. Each event is validated separately, so that an invalid one does not affect others."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from warehouse.events import json_parts
from warehouse.events.schema import (
    COOKIELESS,
    EARLIEST_TIME,
    LATEST_TIME,
    MAX_PAYLOAD_DEPTH,
    MAX_USER_ID,
    Event,
    Limits,
    Rejection,
    Time,
)

MAX_REJECTED_BODY = 16_384
MAX_IGNORED = 20
"""Maximum number of unknown fields' names in an answer."""
MAX_IGNORED_NAME = 64
MAX_AMOUNT = 1_000_000_000_000
MAX_SECONDS = 31_536_000  # a year
MAX_PIXELS = 10_000_000


class BatchError(Exception):
    """The body of a request cannot be parsed: none of its events is stored."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw] | UnsetType = UNSET
    sent_at: Time | None = None
    cookieless: bool = False


class _KnownEnvelope(_Envelope, forbid_unknown_fields=True):
    """An envelope without unknown fields, which is the usual case. If decoding fails, `_Envelope` is decoded."""


class _KnownEvent(Event, frozen=True, forbid_unknown_fields=True):
    """An event without unknown fields."""


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """The JSON texts of a request's events, not yet validated.

    Attributes:
        events: One text for each event, in order.
        sent_at: Time of sending by the sender's clock.
        ignored: Names of the envelope's unknown fields.
        is_cookieless: True if the envelope's field `cookieless` is true.
    """

    events: Sequence[bytes]
    sent_at: datetime | None = None
    ignored: Sequence[str] = ()
    is_cookieless: bool = False


class _OnlyId(msgspec.Struct):
    event_id: Any = None


class InvalidEventError(Exception):
    """An event is invalid; `code` is a value of `Rejection.code`, `detail` a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Batch:
    """The events of a request.

    Attributes:
        events: Valid events.
        indexes: `indexes[i]` is the position of `events[i]` in the request.
        rejected: Invalid events, each with its position and reason.
        ignored: Names of unknown top-level fields, at most `MAX_IGNORED`.
    """

    events: list[Event] = field(default_factory=list[Event])
    indexes: list[int] = field(default_factory=list[int])
    rejected: list[Rejection] = field(default_factory=list[Rejection])
    ignored: set[str] = field(default_factory=set[str])


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_known_envelope = msgspec.json.Decoder(_KnownEnvelope).decode
_decode_known_event = msgspec.json.Decoder(_KnownEvent).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_time = msgspec.json.Decoder(Time | None).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_id = msgspec.json.Decoder(_OnlyId).decode

# An event sent alone may contain the fields of the envelope in addition to its own fields.
_EVENT_FIELDS = frozenset(Event.__struct_fields__) | (frozenset(_Envelope.__struct_fields__) - {"events"})

_READ_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)

T = TypeVar("T")


def open_envelope(body: bytes, limits: Limits) -> OpenedEnvelope:
    """Find the events in a request's body: an array, one event, or `{"sent_at": …, "cookieless": …, "events": […]}`.

    Raises:
        BatchError: The body has none of these forms, or contains more events than `limits.max_events`.
    """
    opened = _open_envelope(body)
    if len(opened.events) > limits.max_events:
        raise BatchError(
            "too_many_events", f"A request may contain {limits.max_events} events; this one has {len(opened.events)}."
        )
    return opened


def parse_events(raws: Sequence[bytes], limits: Limits) -> Batch:
    """Parse and validate the events of a request, each one separately."""
    batch = Batch()
    for index, raw in enumerate(raws):
        try:
            event = _parse_known(raw, limits)
            if event is None:
                event = parse_event(raw, limits)
                batch.ignored.update(_unknown_fields(raw, _EVENT_FIELDS)[: MAX_IGNORED - len(batch.ignored)])
            batch.events.append(event)
            batch.indexes.append(index)
        except InvalidEventError as refusal:
            batch.rejected.append(reject(index, raw, refusal))
    return batch


def _parse_known(raw: bytes, limits: Limits) -> Event | None:
    """Parse an event in one pass; None if it has unknown fields or cannot be parsed."""
    try:
        event = _decode_known_event(raw)
    except (*_READ_ERRORS, msgspec.ValidationError, RecursionError):
        return None
    _check_sent_event(event, raw, limits)
    return event


def _unknown_fields(raw: bytes, known: Container[str]) -> list[str]:
    """Return the names of an object's unknown fields, truncated to `MAX_IGNORED_NAME` characters."""
    try:
        return [name[:MAX_IGNORED_NAME] for name in _decode_object(raw) if name not in known]
    except (*_READ_ERRORS, msgspec.ValidationError, RecursionError):
        return []


def _open_envelope(body: bytes) -> OpenedEnvelope:
    ignored: list[str] = []
    try:
        if body.lstrip()[:1] == b"[":
            return OpenedEnvelope(list(map(bytes, _decode_array(body))))
        try:
            envelope = _decode_known_envelope(body)
        except msgspec.ValidationError:
            envelope = _decode_envelope(body)
            ignored = _unknown_fields(body, _Envelope.__struct_fields__)[:MAX_IGNORED]
    except msgspec.ValidationError as error:
        detail = f"Not an event, an array of events or {{sent_at, events}}: {error}."
        raise BatchError("invalid_batch", detail) from error
    except (*_READ_ERRORS, RecursionError) as error:
        cut = _cut_envelope(body)
        if cut is None:
            raise BatchError("invalid_json", f"The body is not JSON in UTF-8: {error}.") from error
        return cut
    sent_at = _sent_at(envelope.sent_at)
    if isinstance(envelope.events, UnsetType):
        # the body is one event, whose fields are checked later
        return OpenedEnvelope([body], sent_at, is_cookieless=envelope.cookieless)
    return OpenedEnvelope(list(map(bytes, envelope.events)), sent_at, ignored, envelope.cookieless)


def _cut_envelope(body: bytes) -> OpenedEnvelope | None:
    """Find the events in a body that is not valid JSON, so that the valid events can be stored."""
    if (events := json_parts.elements(body)) is not None:
        return OpenedEnvelope(events)
    parts = json_parts.members(body)
    if parts is None or (events := json_parts.elements(parts.get(b"events", b""))) is None:
        return None
    try:
        sent_at = _decode_time(parts.get(b"sent_at", b"null"))
    except (*_READ_ERRORS, msgspec.ValidationError, RecursionError):
        return None
    return OpenedEnvelope(events, _sent_at(sent_at), is_cookieless=parts.get(b"cookieless") == b"true")


def _sent_at(value: datetime | None) -> datetime | None:
    try:
        check_time("sent_at", value)
    except InvalidEventError as error:
        raise BatchError("invalid_batch", error.detail) from error
    return value and value.astimezone(UTC)


def parse_event(raw: bytes, limits: Limits) -> Event:
    """Parse and validate one event from its JSON text.

    Raises:
        InvalidEventError: The event violates the schema or a limit, or has characters that Postgres cannot store.
    """
    event = decode_event(raw, _decode_event)
    _check_sent_event(event, raw, limits)
    return event


def _check_sent_event(event: Event, raw: bytes, limits: Limits) -> None:
    """Check an event that a client sent: the rules for all events, and the visitor ID.

    Raises:
        InvalidEventError: The event is invalid, or its visitor ID is reserved.
    """
    if event.user_id is not None and event.user_id.startswith(COOKIELESS):
        raise InvalidEventError("reserved_user_id", f"Only the server makes visitor IDs that begin with {COOKIELESS}")
    check_event(event, raw, limits)


def decode_event(raw: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode the JSON text of an event with a msgspec decoder.

    Raises:
        InvalidEventError: The text is not JSON, or violates the schema.
    """
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidEventError("invalid_event", f"{error}.") from error
    except _READ_ERRORS as error:
        if _HALF_PAIR.search(raw):
            raise InvalidEventError("invalid_text", "Half a surrogate pair cannot be stored.") from error
        raise InvalidEventError("invalid_json", f"Not JSON in UTF-8: {error}.") from error
    except RecursionError as error:
        raise _too_deep() from error


def check_event(event: Event, raw: bytes, limits: Limits) -> None:
    """Check the rules that the schema's types do not express.

    Args:
        event: The event decoded from `raw`.
        raw: The event's JSON text.
        limits: Limits for the request.

    Raises:
        InvalidEventError: The event violates a limit, or has characters that Postgres cannot store.
    """
    check_time("created_at", event.created_at)
    payload = event.payload
    # The exact checks traverse the payload. Cheap checks of the JSON text first exclude most events.
    if len(raw) > limits.max_payload_bytes and payload is not None:
        size = len(msgspec.json.encode(payload))
        if size > limits.max_payload_bytes:
            raise InvalidEventError(
                "payload_too_large", f"The payload has {size:,} bytes; the limit is {limits.max_payload_bytes:,} bytes."
            )
    if b"\\u0000" in raw and _holds_nul(event):
        raise InvalidEventError("invalid_text", "The character U+0000 cannot be stored.")
    if raw.count(b"{") + raw.count(b"[") > MAX_PAYLOAD_DEPTH and _depth(payload) > MAX_PAYLOAD_DEPTH:
        raise _too_deep()
    check = _PAYLOAD_CHECKS.get(event.event_type)
    if check is not None:
        check(payload or {})


def reject(index: int, raw: bytes, refusal: InvalidEventError) -> Rejection:
    """Make a Rejection, with the event's text in a form that a text column can store."""
    text = raw[:MAX_REJECTED_BODY].decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
    event_id = None
    try:
        candidate = _decode_id(raw).event_id
        if isinstance(candidate, str):
            event_id = candidate[:MAX_USER_ID].replace("\x00", "")
    except (*_READ_ERRORS, RecursionError):
        pass
    return Rejection(index, event_id, refusal.code, refusal.detail[:500], text[:MAX_REJECTED_BODY])


def check_time(name: str, value: datetime | None) -> None:
    """Check that a time is from `EARLIEST_TIME` to `LATEST_TIME`.

    Raises:
        InvalidEventError: The time is outside this range.
    """
    if value is not None and not EARLIEST_TIME <= value < LATEST_TIME:
        raise InvalidEventError("time_out_of_range", f"{name} is outside the years 1900 to 2199.")


def _too_deep() -> InvalidEventError:
    return InvalidEventError("invalid_payload", f"The payload is nested deeper than {MAX_PAYLOAD_DEPTH} levels.")


def _holds_nul(event: Event) -> bool:
    pending: list[object] = list(msgspec.structs.astuple(event))
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if "\x00" in value:
                return True
        elif isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            pending += value
    return False


def _depth(value: object) -> int:
    depth = 0
    level: list[object] = [value]
    while level := [
        child
        for node in level
        if isinstance(node, dict | list)
        for child in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
    return depth


# These checks repeat the CHECK constraints of public.events, to give clear messages. Keep both in agreement: if
# Postgres refuses a flush, the faulty row must be searched by halving the flush.


def _section(payload: dict[str, Any], name: str) -> dict[str, Any]:
    section = payload.get(name)
    if not isinstance(section, dict):
        raise InvalidEventError("invalid_payload", f"payload.{name} must be an object.")
    return section


def _number(
    payload: dict[str, Any], section: str, name: str, least: float, most: float, *, whole: bool = False
) -> None:
    value = _section(payload, section).get(name)
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not least <= value <= most
        or (whole and value != int(value))
    ):
        kind = "an integer" if whole else "a number"
        raise InvalidEventError(
            "invalid_payload", f"payload.{section}.{name} must be {kind} from {least:,} to {most:,}."
        )


def _check_click(payload: dict[str, Any]) -> None:
    _number(payload, "click", "x", -MAX_PIXELS, MAX_PIXELS)
    _number(payload, "click", "y", -MAX_PIXELS, MAX_PIXELS)


def _check_form(payload: dict[str, Any]) -> None:
    _section(payload, "form")


def _check_purchase(payload: dict[str, Any]) -> None:
    """Check the order's amount, if it has one: a missing amount means unknown."""
    if payload.get("order") is not None and _section(payload, "order").get("amount") is not None:
        _number(payload, "order", "amount", 0, MAX_AMOUNT)


def _check_refund(payload: dict[str, Any]) -> None:
    """Check that a refund names an order; a missing amount means the complete order."""
    order = _section(payload, "order")
    order_id = order.get("id")
    if not isinstance(order_id, str | int | float) or isinstance(order_id, bool) or order_id == "":
        raise InvalidEventError("invalid_payload", "payload.order.id must be the number of the refunded order.")
    amount = order.get("amount")
    if amount is not None:
        _number(payload, "order", "amount", 0, MAX_AMOUNT)
        if amount == 0:
            raise InvalidEventError(
                "invalid_payload",
                "payload.order.amount must be greater than 0. Leave it out to refund the complete order.",
            )


def _check_identity(payload: dict[str, Any]) -> None:
    _section(payload, "identity")


_PAYLOAD_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "click": _check_click,
    "scroll": lambda payload: _number(payload, "scroll", "scrollPercent", 0, 100, whole=True),
    "page_leave": lambda payload: _number(payload, "timing", "timeOnPage", 0, MAX_SECONDS),
    "form_start": _check_form,
    "form_abandon": _check_form,
    "form_submit": _check_form,
    "form_error": _check_form,
    "purchase": _check_purchase,
    "refund": _check_refund,
    "identify": _check_identity,
}
