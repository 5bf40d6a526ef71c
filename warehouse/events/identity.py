"""Hashes of e-mail addresses and telephone numbers. The collector hashes e-mail addresses in the same way."""

from __future__ import annotations

import hashlib
import re


def email_sha256(address: str) -> str | None:
    """Return SHA-256 (hexadecimal) of an e-mail address, trimmed and in lower case; None if it is empty."""
    return _sha256(address.strip().lower())


def phone_sha256(number: str) -> str | None:
    """Return SHA-256 (hexadecimal) of the digits of a telephone number; None if it has no digits."""
    return _sha256(re.sub(r"\D", "", number))


def _sha256(text: str) -> str | None:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest() if text else None
