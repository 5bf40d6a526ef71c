"""Reads a batch: each event alone, so that a bad one never spoils the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from warehouse.events import json_parts
from warehouse.events.schema import (
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
MAX_AMOUNT = 1_000_000_000_000
MAX_SECONDS = 31_536_000  # a year
MAX_PIXELS = 10_000_000


class BatchError(Exception):
    """The request as a whole cannot be read: nothing of it is stored."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw]
    sent_at: Time | None = None


class _OnlyId(msgspec.Struct):
    event_id: Any = None


class InvalidEventError(Exception):
    """One event cannot be taken; `code` is a name of `Rejection.code`, `detail` a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Batch:
    """What a body held. `indexes[i]` is the place of `events[i]` in the request."""

    sent_at: datetime | None
    events: list[Event] = field(default_factory=list[Event])
    indexes: list[int] = field(default_factory=list[int])
    rejected: list[Rejection] = field(default_factory=list[Rejection])


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_time = msgspec.json.Decoder(Time | None).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_id = msgspec.json.Decoder(_OnlyId).decode

_READ_ERRORS = (msgspec.DecodeError, UnicodeDecodeError)
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)

E = TypeVar("E", bound=Event)


def parse_batch(body: bytes, limits: Limits) -> Batch:
    """Read the body of a request: an array of events, or `{"sent_at": …, "events": […]}`.

    Raises:
        BatchError: The body is neither, or holds more events than `limits.max_events`.
    """
    sent_at, raws = _open_envelope(body)
    if len(raws) > limits.max_events:
        raise BatchError(
            "too_many_events", f"A request holds at most {limits.max_events} events; this one has {len(raws)}."
        )
    batch = Batch(sent_at)
    for index, raw in enumerate(map(bytes, raws)):
        try:
            batch.events.append(parse_event(raw, limits))
            batch.indexes.append(index)
        except InvalidEventError as refusal:
            batch.rejected.append(reject(index, raw, refusal))
    return batch


def _open_envelope(body: bytes) -> tuple[datetime | None, Sequence[msgspec.Raw | bytes]]:
    try:
        if body.lstrip()[:1] == b"[":
            return None, _decode_array(body)
        envelope = _decode_envelope(body)
    except msgspec.ValidationError as error:
        raise BatchError("invalid_batch", f"Not an array of events nor {{sent_at, events}}: {error}.") from error
    except (*_READ_ERRORS, RecursionError) as error:
        cut = _cut_envelope(body)
        if cut is None:
            raise BatchError("invalid_json", f"The body is not JSON in UTF-8: {error}.") from error
        return cut
    return _sent_at(envelope.sent_at), envelope.events


def _cut_envelope(body: bytes) -> tuple[datetime | None, list[bytes]] | None:
    """The same of a body that cannot be read as a whole: the events, of which one at least cannot be read either."""
    if (events := json_parts.elements(body)) is not None:
        return None, events
    parts = json_parts.members(body)
    if parts is None or (events := json_parts.elements(parts.get(b"events", b""))) is None:
        return None
    try:
        sent_at = _decode_time(parts.get(b"sent_at", b"null"))
    except (*_READ_ERRORS, msgspec.ValidationError, RecursionError):
        return None
    return _sent_at(sent_at), events


def _sent_at(value: datetime | None) -> datetime | None:
    try:
        check_time("sent_at", value)
    except InvalidEventError as error:
        raise BatchError("invalid_batch", error.detail) from error
    return value and value.astimezone(UTC)


def parse_event(raw: bytes, limits: Limits) -> Event:
    """Read one event from its JSON text.

    Raises:
        InvalidEventError: It breaks the schema or a bound, or holds what Postgres cannot.
    """
    event = decode_event(raw, _decode_event)
    check_event(event, raw, limits)
    return event


def decode_event(raw: bytes, decode: Callable[[bytes], E]) -> E:
    """Read the fields of an event.

    Raises:
        InvalidEventError: The text is no JSON, or breaks the schema.
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
    """Check what the types of the schema do not say.

    Args:
        event: What `raw` holds.
        raw: The event's JSON text.
        limits: Bounds of the request.

    Raises:
        InvalidEventError: It breaks a bound, or holds what Postgres cannot.
    """
    check_time("created_at", event.created_at)
    payload = event.payload
    # The exact checks walk the payload; the text of the event tells at once that most need none.
    if len(raw) > limits.max_payload_bytes and payload is not None:
        size = len(msgspec.json.encode(payload))
        if size > limits.max_payload_bytes:
            raise InvalidEventError(
                "payload_too_large", f"The payload has {size:,} bytes; at most {limits.max_payload_bytes:,} are taken."
            )
    if b"\\u0000" in raw and _holds_nul(event):
        raise InvalidEventError("invalid_text", "The character U+0000 cannot be stored.")
    if raw.count(b"{") + raw.count(b"[") > MAX_PAYLOAD_DEPTH and _depth(payload) > MAX_PAYLOAD_DEPTH:
        raise _too_deep()
    check = _PAYLOAD_CHECKS.get(event.event_type)
    if check is not None:
        check(payload or {})


def reject(index: int, raw: bytes, refusal: InvalidEventError) -> Rejection:
    """Describe a refused event, keeping its text in a form that a text column can hold."""
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
    """Check that a time is none that only a broken clock or a broken program shows.

    Raises:
        InvalidEventError: It lies outside the years that are taken.
    """
    if value is not None and not EARLIEST_TIME <= value < LATEST_TIME:
        raise InvalidEventError("time_out_of_range", f"{name} lies outside the years 1900 to 2199.")


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


# The CHECK constraints of public.events, said in words. Both must agree: a flush that Postgres refuses costs a search
# for the row at fault.


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
    """An order may lack its amount, which is unknown then; one that is there must be a number in bounds."""
    if payload.get("order") is not None and _section(payload, "order").get("amount") is not None:
        _number(payload, "order", "amount", 0, MAX_AMOUNT)


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
    "identify": _check_identity,
}
