"""Hashes of what people type about themselves. The collector makes the hash of an e-mail address in the same way."""

from __future__ import annotations

import hashlib
import re


def email_sha256(address: str) -> str | None:
    """SHA-256 (hexadecimal) of an e-mail address, trimmed and in lower case; None if nothing is left."""
    return _sha256(address.strip().lower())


def phone_sha256(number: str) -> str | None:
    """SHA-256 (hexadecimal) of the digits of a telephone number; None if it has none."""
    return _sha256(re.sub(r"\D", "", number))


def _sha256(text: str) -> str | None:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest() if text else None
