"""Secrets that the platform makes for itself, kept in one file that only its owner can read."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from warehouse.errors import UserError

FILE_NAME = "secrets.json"


def _new_secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Secrets:
    """Generated secrets. A setting of the same meaning (`SERVICE_KEY`, `READER_KEY`, …) takes precedence."""

    service_key: str
    reader_key: str
    tilda_webhook_token: str
    postgres_password: str
    ingest_password: str
    reader_password: str
    privacy_password: str
    visitor_hash_key: str
    mindsdb_password: str

    @classmethod
    def load_or_create(cls, data_dir: Path) -> Self:
        """Read the secrets of `data_dir`; make the file (mode 0600) and what is missing in it.

        Raises:
            UserError: The file is damaged.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        path = data_dir / FILE_NAME
        # Two processes that start together agree on one set: the second waits, and reads what the first has made.
        with (data_dir / f".{FILE_NAME}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = _read(path)
            missing = [field.name for field in fields(cls) if field.name not in known]
            if missing:
                known |= {name: _new_secret() for name in missing}
                _write(path, known)
        return cls(**{field.name: known[field.name] for field in fields(cls)})

    def as_dict(self) -> dict[str, str]:
        """All secrets by name."""
        return asdict(self)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"The secrets in {path} cannot be read.", "Restore the file from a backup.") from error


def _write(path: Path, content: dict[str, str]) -> None:
    """Put the file in place whole, and on the disk before anybody uses what is in it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")  # mkstemp makes it 0600
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
