"""Cold storage: any place that fsspec can write to, a local folder by default."""

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
"""What a place answers that is away, refuses, or is no place at all."""


def file_url(folder: str, name: str) -> str:
    """The whole URL of a file in a folder, however the folder is written.

    Raises:
        UserError: The folder is no place that this environment can reach.
    """
    url = f"{folder.rstrip('/')}/{name}"
    with _explained(url, "written"):
        place, path = _place(url)
        return place.unstrip_protocol(path)


@contextmanager
def writing(url: str) -> Generator[IO[bytes]]:
    """A new file. When the block ends well, the file is as durable as the place can make it.

    Raises:
        UserError: The place cannot be written to.
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
    """A file as the place holds it now.

    Raises:
        UserError: It is not there, or the place cannot be read.
    """
    with _explained(url, "read"):
        place, path = _place(url)
        place.invalidate_cache()
        with place.open(path, "rb") as file:
            yield file


def size(url: str) -> int:
    """Bytes of a file.

    Raises:
        UserError: It is not there, or the place cannot be read.
    """
    with _explained(url, "read"):
        place, path = _place(url)
        place.invalidate_cache()
        return int(place.size(path) or 0)


def delete(url: str) -> None:
    """Delete a file; no harm if it is not there.

    Raises:
        UserError: The place refuses.
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
            f"{url} cannot be {verb}: {reason.rstrip('.')}.", "Check COLD_STORAGE_URL, the place and its credentials."
        ) from error
