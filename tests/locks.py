"""Read the lock files."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pins(lock: str) -> dict[str, set[str]]:
    """Return the pinned versions of each package: several if they depend on the platform or the Python version."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9_.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found
