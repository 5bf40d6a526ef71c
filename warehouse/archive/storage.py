"""Cold storage: any storage that fsspec supports, by default a local folder."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec
from botocore.exceptions import BotoCoreError
from fsspec.implementations.local import LocalFileSystem

from warehouse.kit.errors import UserError

_TROUBLE = (OSError, ValueError, ImportError, BotoCoreError)
"""Errors of a storage that is unavailable, denies access, or has an invalid URL."""


def file_url(folder: str, name: str) -> str:
    """Return the complete URL of a file in a folder, which may be a URL or a path.

    Raises:
        UserError: The URL is invalid, or the storage is not supported.
    """
    url = f"{folder.rstrip('/')}/{name}"
    with _explained(url, "written"):
        place, path = _place(url)
        return place.unstrip_protocol(path)


@contextmanager
def writing(url: str) -> Generator[IO[bytes]]:
    """Create a file. If the block ends without an error, the file is durable (local files are synced to disk).

    Raises:
        UserError: The storage cannot be written to.
    """
    with _explained(url, "written"):
        place, path = _place(url)
        if isinstance(place, LocalFileSystem):
            folder = Path(path).parent
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with Path(path).open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(folder)
            _sync_folder(folder.parent)
        else:
            with place.open(path, "wb") as file:
                yield file


@contextmanager
def reading(url: str) -> Generator[IO[bytes]]:
    """Open a file for reading, without cached listings.

    Raises:
        UserError: The file does not exist or cannot be read.
    """
    with _explained(url, "read"):
        place, path = _place(url)
        place.invalidate_cache()
        with place.open(path, "rb") as file:
            yield file


def size(url: str) -> int:
    """Return the size of a file in bytes.

    Raises:
        UserError: The file does not exist or cannot be read.
    """
    with _explained(url, "read"):
        place, path = _place(url)
        place.invalidate_cache()
        return int(place.size(path) or 0)


def delete(url: str) -> None:
    """Delete a file. Do nothing if it does not exist.

    Raises:
        UserError: The file cannot be deleted.
    """
    with _explained(url, "deleted"), suppress(FileNotFoundError, NotADirectoryError):
        place, path = _place(url)
        place.invalidate_cache()
        place.rm_file(path)


def _place(url: str) -> tuple[Any, str]:
    return fsspec.core.url_to_fs(url)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(url: str, verb: str) -> Generator[None]:
    try:
        yield
    except _TROUBLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{url} cannot be {verb}: {reason.rstrip('.')}.", "Check COLD_STORAGE_URL, the storage and its credentials."
        ) from error
