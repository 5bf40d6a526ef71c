"""Visitors without cookies: recognized for one day by a keyed hash of their address and user agent.

The method is Plausible's (https://plausible.io/data-policy). The hash's key, the salt, is random and changes every day
(UTC); when it is deleted, nobody can recognize a visitor of that day again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from warehouse.events.schema import COOKIELESS, Event, Rejection, Row
from warehouse.events.validation import Batch

IDENTIFY_CODE = "cookieless_identify"

_CLIENT_IDS = tuple(name for name in ("session_id", "visit_id", "tab_id") if name in Row.__struct_fields__)
"""IDs that a client keeps in the browser's storage."""


def is_cookieless(user_id: str | None) -> bool:
    """Return True for the ID of a cookieless visitor."""
    return user_id is not None and user_id.startswith(COOKIELESS)


def visitor_id(salt: bytes, site_id: str, address: str, user_agent: str | None) -> str:
    """Return the visitor's ID on a site for the salt's day: the prefix and 132 bits of HMAC-SHA256 in base64url.

    Args:
        salt: Secret of the day.
        site_id: The site; the same visitor has another ID on another site.
        address: The visitor's full IP address.
        user_agent: The visitor's user agent.
    """
    # NUL cannot occur in any of the parts.
    message = "\0".join((site_id, address, user_agent or "")).encode(errors="surrogatepass")
    digest = hmac.new(salt, message, hashlib.sha256).digest()
    return COOKIELESS + base64.urlsafe_b64encode(digest)[:22].decode()


def make_cookieless(row: Row, visitor: str | None) -> None:
    """Replace the IDs of an event by the ID of one day, and remove everything else that identifies its visitor.

    Args:
        row: An event.
        visitor: Result of `visitor_id`; None if the visitor's address is unknown.
    """
    row.user_id = visitor
    for name in _CLIENT_IDS:
        setattr(row, name, None)
    row.ip_address = row.user_agent = None
    if row.payload and "identity" in row.payload:
        row.payload = {name: section for name, section in row.payload.items() if name != "identity"}


def reject_identify(batch: Batch) -> None:
    """Move `identify` events of a cookieless batch to the rejected events, without their content."""
    if not any(event.event_type == "identify" for event in batch.events):
        return
    kept: list[tuple[Event, int]] = []
    for event, index in zip(batch.events, batch.indexes, strict=True):
        if event.event_type == "identify":
            detail = "An identify event of a cookieless visitor is not stored; it needs consent."
            batch.rejected.append(Rejection(index, str(event.event_id), IDENTIFY_CODE, detail, ""))
        else:
            kept.append((event, index))
    batch.events = [event for event, _ in kept]
    batch.indexes = [index for _, index in kept]
    batch.rejected.sort(key=lambda one: one.index)
