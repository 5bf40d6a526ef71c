"""Paths of the platform's files, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path

_PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = _PACKAGE / "shipped"
"""Exists in an installed wheel only."""
_CHECKOUT = None if _SHIPPED.is_dir() else _PACKAGE.parent

BASE_DIR = _CHECKOUT or user_data_path("tilda-analytics")
"""The folder of `.env` and, unless DATA_DIR is set, of the data; processes of the stack run in it.

It is the checkout or, for an installed wheel, the user's data folder: `~/.local/share/tilda-analytics` on Linux,
`~/Library/Application Support/tilda-analytics` on macOS. It does not depend on the current directory, so that every
command finds the same stack.
"""

DATA_DIR = BASE_DIR / (".data" if _CHECKOUT else "data")
"""The default of the setting DATA_DIR."""


def shipped(name: str) -> Path:
    """Return the path of a project file that is not Python, such as `sql`, `collector/dist` or `workspace.yaml`.

    A wheel contains these files inside the package `warehouse` (pyproject.toml: `sources`). They may be read-only.
    """
    return (_CHECKOUT or _SHIPPED) / name


def working_dir() -> Path:
    """Return `BASE_DIR`, and create it if it does not exist."""
    BASE_DIR.mkdir(parents=True, exist_ok=True)
    return BASE_DIR
