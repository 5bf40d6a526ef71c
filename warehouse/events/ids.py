"""IDs derived from content, so that a repeated import adds no duplicates."""

from __future__ import annotations

import hashlib
from uuid import UUID

_NAMESPACE = UUID("5b0c0b5e-6f5c-5b1e-9d0a-7a1c2f3e4d5b").bytes


def uuid_of(kind: str, site_id: str, *parts: bytes) -> UUID:
    """Return a UUID of version 5 (RFC 9562) of the kind, the site and the parts.

    Args:
        kind: Kind of object: `event`, `session`, `visit`, `tab` or `line`.
        site_id: The object's site.
        parts: Content that identifies the object. Only the last part may contain a NUL byte.
    """
    name = b"\0".join((kind.encode(), site_id.encode(), *parts))
    return UUID(bytes=hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16], version=5)
