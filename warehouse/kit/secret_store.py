"""Secrets that the platform generates, stored in a file that only its owner can read."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from warehouse.kit.errors import UserError

FILE_NAME = "secrets.json"


def new_secret() -> str:
    """Return a random secret: 32 characters of a-z, A-Z, 0-9, `-` and `_`."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, repr=False)
class Secrets:
    """Every secret by name. `Settings.secrets` replaces generated ones by settings of the same name."""

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
        """Read the secrets of `data_dir`; create the file (mode 0600) and missing secrets.

        Raises:
            UserError: The file is damaged, or the folder cannot be written to.
        """
        with _locked(data_dir) as path:
            known = _read(path)
            missing = [field.name for field in fields(cls) if field.name not in known]
            if missing:
                known |= {name: new_secret() for name in missing}
                _write(path, known)
        return cls(**{field.name: known[field.name] for field in fields(cls)})

    @classmethod
    def keep(cls, data_dir: Path, values: Mapping[str, str]) -> None:
        """Save new values of some secrets in the file of `data_dir`.

        Raises:
            UserError: The file is damaged, or the folder cannot be written to.
        """
        with _locked(data_dir) as path:
            _write(path, _read(path) | dict(values))

    def as_dict(self) -> dict[str, str]:
        """Return all secrets by name."""
        return asdict(self)


@contextmanager
def _locked(data_dir: Path) -> Generator[Path]:
    """Lock the file for one process at a time, so that processes that start together use the same secrets."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with (data_dir / f".{FILE_NAME}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield data_dir / FILE_NAME
    except OSError as error:
        raise UserError(
            f"Secrets cannot be kept in DATA_DIR, {data_dir}: {error.strerror}.",
            "Set DATA_DIR to a folder that the user of this process may write to.",
        ) from error


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except PermissionError as error:
        raise UserError(
            f"This user may not read the secrets in {path}.", "Run the command as the owner of the file."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"The secrets in {path} cannot be read.", "Restore the file from a backup.") from error


def _write(path: Path, content: dict[str, str]) -> None:
    """Replace the file atomically and durably, before the secrets are used."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")  # mkstemp makes it 0600
    with os.fdopen(handle, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
