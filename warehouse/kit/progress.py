"""Callbacks that report the progress of long work. The command line shows a progress bar or the present step."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, float | None], None]
"""Called with the amount done and the total amount in the same unit; None: the total is unknown."""

Say = Callable[[str], None]
"""Called with a description of each step before the step begins."""


def no_progress(_done: float, _total: float | None) -> None:
    """Report no progress."""


def silent(_text: str) -> None:
    """Ignore the description."""
