"""Ids that follow from content, so that bringing in the same thing again adds nothing."""

from __future__ import annotations

import hashlib
from uuid import UUID

_NAMESPACE = UUID("5b0c0b5e-6f5c-5b1e-9d0a-7a1c2f3e4d5b").bytes


def uuid_of(kind: str, site_id: str, *parts: bytes) -> UUID:
    """A UUID of version 5 (RFC 9562) of these parts; other kinds and other sites give others.

    Args:
        kind: What is named: `event`, `session`, `line`.
        site_id: Whose it is.
        parts: What tells it from others. None but the last may hold a NUL byte.
    """
    name = b"\0".join((kind.encode(), site_id.encode(), *parts))
    return UUID(bytes=hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).digest()[:16], version=5)
