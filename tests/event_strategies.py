"""Hypothesis strategies for events and hostile JSON, shared by the tests of validation and of CHECK constraints."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from warehouse.events.schema import EVENT_TYPES

# Any text, with control characters, NUL and all planes. Surrogates are excluded: UTF-8 cannot encode them.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -1, 1, 99, 100, 101, 50.5, 100.0, 1e2, 1e300, -0.0, 10**7, 10**7 + 1, 10**12, 31_536_000]),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)

_SECTIONS = {
    "click": ("x", "y"),
    "scroll": ("scrollPercent",),
    "timing": ("timeOnPage",),
    "form": ("id", "name"),
    "order": ("amount", "id"),
    "identity": ("email_sha256",),
    "utm": ("source", "campaign"),
}
payloads = st.one_of(
    st.none(),
    st.dictionaries(texts, values, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            name: values | st.fixed_dictionaries({}, optional=dict.fromkeys(fields, numbers | values))
            for name, fields in _SECTIONS.items()
        },
    ),
)
"""Payloads whose documented sections are valid or invalid."""

ids = st.builds(lambda number: str(UUID(int=number)), st.integers(0, 2**128 - 1))
times = st.one_of(
    st.integers(-120 * 366 * 86_400, 280 * 366 * 86_400).map(
        lambda seconds: (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()
    ),
    st.sampled_from(
        [
            "1900-01-01T00:00:00Z",
            "1899-12-31T23:59:59.999999Z",
            "2199-12-31T23:59:59.999999Z",
            "2200-01-01T00:00:00Z",
            "2026-11-22T10:00:00+23:59",
            "2026-11-22T10:00:00-23:59",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2026-02-30T00:00:00Z",
            "20000-01-01T00:00:00Z",
            "2026-11-22T10:00:00",
            "yesterday",
        ]
    ),
    st.integers(-60 * 24 * 40, 60 * 24 * 2).map(
        lambda minutes: (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    ),
)
urls = st.one_of(
    texts,
    st.builds(lambda host, rest: f"https://{host}/{rest}", texts, texts),
    st.sampled_from(
        [
            "https://example.com/a?utm_source=x&utm_campaign=%00y&utm_medium=" + "m" * 600,
            "http://[::1/",
            "https://[v1.x]/",
            "https://exa%00mple.com/%00%ff%ed%a0%80",
            "https://example.com:99999999/",
            "//example.com/x",
            "javascript:alert(1)",
            "https://\u2100.example/",  # NFKC normalises this character to a/c
            "https://user:secret@example.com/" + "p" * 5000,
            "https://example.com/?" + "&".join(f"utm_{n}=1" for n in range(300)),
        ]
    ),
)


def events(event_types: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for events whose fields mostly have the right type."""
    return st.fixed_dictionaries(
        {
            "event_id": ids,
            "event_type": event_types or st.one_of(st.sampled_from(EVENT_TYPES), st.text(max_size=70)),
            "payload": payloads,
        },
        optional={
            "created_at": st.one_of(st.none(), times),
            "session_id": st.one_of(st.none(), ids),
            "user_id": st.one_of(st.none(), texts, st.just("u" * 128), st.just("u" * 129)),
            "page_url": st.one_of(st.none(), urls),
            "page_title": st.one_of(st.none(), texts),
            "referrer": st.one_of(st.none(), urls),
            "target_element": st.one_of(st.none(), texts),
            "target_text": st.one_of(st.none(), texts, st.just("t" * 2000)),
        },
    )


sound_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=66)
sound_events = st.fixed_dictionaries(
    {"event_id": ids, "event_type": st.just("hello")},
    optional={
        "payload": st.dictionaries(sound_texts, sound_texts | st.lists(numbers) | st.none(), max_size=4),
        "session_id": ids,
        "user_id": sound_texts.filter(bool),
        "page_url": sound_texts.map(lambda text: f"https://example.com/{text}?utm_source={text}"),
        "referrer": sound_texts,
        "page_title": sound_texts,
        "target_text": sound_texts,
    },
)
"""Valid events with unusual text."""


def as_json(value: object) -> bytes:
    """Return JSON in UTF-8 without ASCII escapes, as a browser writes it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


@st.composite
def broken(draw: st.DrawFn, body: bytes) -> bytes:
    """Draw a body with one to three random edits: bytes changed, cut off or inserted."""
    text = bytearray(body)
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, max(len(text) - 1, 0)))
        change = draw(st.sampled_from(["cut", "flip", "insert"]))
        if change == "cut":
            del text[position:]
        elif change == "flip" and text:
            text[position] = draw(st.integers(0, 255))
        else:
            text[position:position] = draw(
                st.sampled_from(
                    [b"\\ud800", b"\\u0000", b"\xff", b"\x00", b'"', b"[" * 3000, b"{", b",", b"1e999", b"NaN"]
                )
            )
    return bytes(text)
