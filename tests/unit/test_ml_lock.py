"""MindsDB answers as scikit-learn does only with the same libraries."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9_-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_mindsdb_runs_the_libraries_that_models_are_made_with() -> None:
    ours, theirs = pins("requirements.lock"), pins("requirements-mindsdb.lock")
    for name in ("scikit-learn", "skops", "scipy", "numpy"):
        assert ours[name] == theirs[name]


def test_the_locks_hold_hashes_and_no_addresses() -> None:
    for lock in ("requirements.lock", "requirements-mindsdb.lock"):
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert text.count("--hash=sha256:") >= len(pins(lock))
