"""The checksum of `ops.checksum`, computed from Arrow data: the sum of the 128-bit MD5 hashes of the rows' text.

Postgres and this module compute it independently, so a value that was changed in a file or by a type conversion is
detected.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

# its functions are created at run time, so type checkers do not know them
pc: Any = pyarrow.compute

_NEEDS_QUOTES = r'["\\(),\s\x0b]|^$'
"""Matches field values that Postgres quotes in the text of a row (`record_out`)."""
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_GROUPS = np.array([0, 1, 2, 3, -1, 4, 5, -1, 6, 7, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15])
"""Order of a UUID's bytes in its text; -1 is a hyphen."""


@dataclass
class Checksum:
    """Accumulates the checksum of rows.

    Attributes:
        rows: Number of rows that were added.
    """

    rows: int = 0
    _sums: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows. The result does not depend on their order or on the batches."""
        hashes = np.frombuffer(_hashes(row_texts(batch)), dtype=">i8").reshape(-1, 2)
        for half in (0, 1):
            values = hashes[:, half].astype(np.int64)
            # two halves, because a sum of 64-bit numbers would overflow
            self._sums[half] += (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
        self.rows += batch.num_rows

    def text(self) -> str:
        """Return the checksum in the format of `ops.checksum`."""
        return f"{self._sums[0]}:{self._sums[1]}"


def row_texts(batch: pa.RecordBatch) -> pa.LargeStringArray:
    """Return the text of each row as `row(…)::text` in Postgres with time zone UTC."""
    fields = [_text(column).cast(pa.large_string()) for column in batch.columns]
    joined = pc.binary_join_element_wise(*fields, pa.scalar(",", pa.large_string()), null_handling="replace")
    opened, closed = pa.scalar("(", pa.large_string()), pa.scalar(")", pa.large_string())
    return pc.binary_join_element_wise(opened, joined, closed, pa.scalar("", pa.large_string()))


def uuid_texts(values: pa.Array) -> pa.StringArray:
    """Return the text of UUIDs (16 bytes each)."""
    count = len(values)
    data = values.buffers()[1]
    if data is None or count == values.null_count:
        return pa.nulls(count, pa.string())
    raw = np.frombuffer(data, dtype=np.uint8)[values.offset * 16 : (values.offset + count) * 16].reshape(count, 16)
    shown = np.full((count, len(_GROUPS), 2), ord("-"), dtype=np.uint8)
    shown[:, _GROUPS >= 0] = _HEX[raw[:, _GROUPS[_GROUPS >= 0]]]
    # a hyphen is one character, a byte is two
    keep = np.ones((len(_GROUPS), 2), dtype=bool)
    keep[_GROUPS < 0, 1] = False
    letters = np.ascontiguousarray(shown[:, keep])
    offsets = np.arange(0, 36 * count + 1, 36, dtype=np.int32)
    text = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(letters))
    return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))


def _text(values: pa.Array) -> pa.Array:
    """Return the values of a column as fields of `row(…)::text`; null stays null."""
    kind = values.type
    if isinstance(values, pa.DictionaryArray):
        return _text(values.dictionary).take(values.indices)
    if isinstance(kind, pa.UuidType):
        return uuid_texts(values.storage)
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "t", "f")
    if pa.types.is_timestamp(kind):
        # Postgres omits trailing zeros of the six decimals
        plain = pc.cast(pc.cast(values, pa.timestamp("us")), pa.string())
        shortened = pc.utf8_rtrim(pc.utf8_rtrim(plain, "0"), ".")
        return pc.binary_join_element_wise('"', shortened, '+00"', "")
    if pa.types.is_integer(kind):
        return values.cast(pa.string())
    escaped = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '""')
    quoted = pc.binary_join_element_wise('"', escaped, '"', "")
    return pc.if_else(pc.match_substring_regex(values, _NEEDS_QUOTES), quoted, values)


def _hashes(texts: pa.LargeStringArray) -> bytes:
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1].tolist()
    letters = memoryview(texts.buffers()[2] or b"")
    md5 = hashlib.md5
    pairs = itertools.pairwise(offsets)
    return b"".join([md5(letters[start:end], usedforsecurity=False).digest() for start, end in pairs])
