"""The type of callbacks that report the progress of long work. The command line shows them as progress bars."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, float | None], None]
"""Called with the amount done and the total amount in the same unit; None: the total is unknown."""


def no_progress(_done: float, _total: float | None) -> None:
    """Report no progress."""
