"""IDs, IP addresses and visitor traits, computed as hashes of the run and a number, so that none has to be stored.

The hash includes all parameters of the run, so two runs have an ID in common only if their parameters are equal.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)


def scrambled(numbers: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """Hash each number to 64 bits with SplitMix64 (Steele, Lea and Flood, 2014), seeded with `salt`."""
    word = numbers.astype(np.uint64) * _STEP + np.uint64(salt)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def shares(numbers: NDArray[np.int64], salt: int) -> NDArray[np.float64]:
    """Hash each number to a float in [0, 1), uniformly distributed."""
    return (scrambled(numbers, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Names:
    """Generates the IDs of one run; `run` is the text of all its parameters."""

    run: str

    def salt(self, purpose: str) -> int:
        """Return a 64-bit integer derived from the run and the purpose."""
        return int.from_bytes(hashlib.sha256(f"{self.run}|{purpose}".encode()).digest()[:8], "big")

    def uuids(self, purpose: str, numbers: NDArray[np.int64]) -> list[str]:
        """Return a UUID for each number as text, in the format of version 4."""
        words = np.empty((len(numbers), 2), dtype=">u8")
        high, low = scrambled(numbers, self.salt(purpose)), scrambled(numbers, self.salt(f"{purpose}, low"))
        words[:, 0] = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
        words[:, 1] = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
        text = words.tobytes().hex()
        ids = (text[i : i + 32] for i in range(0, len(text), 32))
        return [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in ids]

    def addresses(self, visitors: NDArray[np.int64]) -> list[str]:
        """Return an IP address for each visitor, 10 % of them IPv6, from the test ranges of RFC 2544 and RFC 3849."""
        bits = scrambled(visitors, self.salt("address")).tolist()
        return [
            f"2001:db8:{word >> 16 & 0xFFFF:x}:{word >> 32 & 0xFFFF:x}::{word >> 48 & 0xFFFF:x}"
            if word % 10 == 0
            else f"198.{18 + (word >> 8 & 1)}.{word >> 16 & 0xFF}.{1 + (word >> 24) % 254}"
            for word in bits
        ]

    def traits(self, purpose: str, visitors: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a constant trait of each visitor, uniform in [0, 1)."""
        return shares(visitors, self.salt(purpose))
