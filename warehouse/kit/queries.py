"""Reads SQL queries from files. SQL longer than a few lines is in a file next to the code that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString, cast


def read_query(folder: Path, name: str) -> LiteralString:
    """Return the text of `folder/name.sql`. It is part of the code, and therefore typed as a trusted literal."""
    return cast("LiteralString", (folder / f"{name}.sql").read_text())
