"""Splits a batch into events by its brackets, so that one event with invalid JSON does not reject the others.

A JSON parser validates the complete batch: an unpaired surrogate, invalid UTF-8 or too many nested brackets in one
event would refuse the request. This module recognizes only strings, brackets and commas.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},]', re.DOTALL)
_MEMBER = re.compile(rb'\s*"([^"\\]*)"\s*:\s*(.*)', re.DOTALL)
_OPENERS = {b"[": b"]", b"{": b"}"}


def elements(text: bytes) -> list[bytes] | None:
    """Return the texts of an array's elements, unvalidated; None if the text is no array or brackets do not match."""
    return _cut(text.strip(), b"[")


def members(text: bytes) -> dict[bytes, bytes] | None:
    """Return the texts of an object's values by name, unvalidated; None if the text is not an object."""
    parts = _cut(text.strip(), b"{")
    matches = [_MEMBER.fullmatch(part) for part in parts or []]
    if parts is None or None in matches:
        return None
    return {match[1]: match[2] for match in matches if match is not None}


def _cut(text: bytes, opener: bytes) -> list[bytes] | None:
    if text[:1] != opener:
        return None
    parts: list[bytes] = []
    closers: list[bytes] = []
    start = 1
    for token in _TOKEN.finditer(text):
        kind = token[0]
        if kind in _OPENERS:
            closers.append(_OPENERS[kind])
        elif kind in {b"]", b"}"}:
            if not closers or closers.pop() != kind:
                return None
            if not closers:
                parts.append(text[start : token.start()])
                if token.end() != len(text):
                    return None
                return parts if len(parts) > 1 or parts[0].strip() else []
        elif kind == b"," and len(closers) == 1:
            parts.append(text[start : token.start()])
            start = token.end()
        elif kind == b'"':
            return None  # an unterminated string
    return None
