"""SQL that is longer than a few lines lives in files beside the code that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString, cast


def read_query(folder: Path, name: str) -> LiteralString:
    """The text of `folder/name.sql`: part of the code, as trusted as a literal in it."""
    return cast("LiteralString", (folder / f"{name}.sql").read_text())
