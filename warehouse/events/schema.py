"""The one event schema: what a sender writes, the bounds it must keep, and the row that it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

EVENT_TYPES = (
    "page_view", "page_leave", "click", "scroll", "form_start", "form_abandon", "form_submit", "form_error",
    "purchase", "add_to_cart", "signup", "outbound_click", "file_download", "popup_open", "web_vitals", "identify",
)  # fmt: skip
"""What the collector sends by itself; any other name is a custom event."""

CONVERSION_EVENT_TYPES = ("form_submit", "signup", "purchase")

# Times outside these years are no clock errors but nonsense, and some would not survive the way through every tool.
EARLIEST_TIME = datetime(1900, 1, 1, tzinfo=UTC)
LATEST_TIME = datetime(2200, 1, 1, tzinfo=UTC)

MAX_EVENT_TYPE = 64
MAX_USER_ID = 128
MAX_URL = 4096
MAX_TEXT = 1024
MAX_UTM = 512
MAX_CLICK_ID = 512
MAX_PAYLOAD_DEPTH = 32

Time = Annotated[datetime, Meta(tz=True)]


class Event(msgspec.Struct, frozen=True):
    """An event as its sender writes it (JSON). Fields that are not named here are ignored.

    Attributes:
        event_id: Made by the sender. A site stores an event_id once for each created_at: a resend carries both
            unchanged.
        event_type: One of `EVENT_TYPES` or a custom name, 1 to 64 characters.
        created_at: The sender's clock, RFC 3339 with an offset.
        session_id: The sender's session.
        user_id: First-party visitor id, 1 to 128 characters.
        payload: Sections of the contract; `timing` is in seconds, `click` and `page` in CSS pixels.
    """

    event_id: UUID
    event_type: Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_TYPE)]
    created_at: Time | None = None
    session_id: UUID | None = None
    user_id: Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID)] | None = None
    page_url: str | None = None
    page_title: str | None = None
    referrer: str | None = None
    target_element: str | None = None
    target_text: str | None = None
    payload: dict[str, Any] | None = None


class Row(msgspec.Struct, omit_defaults=True):
    """One element of a flush, as the SQL function `land_events` reads it: an event, or a refusal with its reason.

    `arrived_at` becomes `received_at`; without one the database's clock counts.
    """

    site_id: str
    source: str
    event_id: UUID | None = None
    event_type: str | None = None
    client_created_at: datetime | None = None
    sent_at: datetime | None = None
    arrived_at: datetime | None = None
    session_id: UUID | None = None
    user_id: str | None = None
    is_bot: bool = False
    page_url: str | None = None
    page_host: str | None = None
    page_path: str | None = None
    page_title: str | None = None
    referrer: str | None = None
    referrer_host: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    click_ids: dict[str, str] | None = None
    target_element: str | None = None
    target_text: str | None = None
    device_type: str | None = None
    browser: str | None = None
    os: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    payload: dict[str, Any] | None = None
    reject_code: str | None = None
    reject_detail: str | None = None
    reject_event_id: str | None = None
    reject_body: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one event of a batch was refused.

    Attributes:
        index: Its place in the batch, from 0.
        event_id: As it was sent, when it could be read.
        code: A stable name: `invalid_json`, `invalid_event`, `invalid_payload`, `payload_too_large`, `invalid_text`,
            `time_out_of_range`.
        detail: One sentence for a developer.
        body: The event as it came, shortened, fit for a text column.
    """

    index: int
    event_id: str | None
    code: str
    detail: str
    body: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request; settings of the same names."""

    max_payload_bytes: int = 10_240
    max_events: int = 500
