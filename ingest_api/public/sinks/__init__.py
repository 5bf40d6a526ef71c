"""Sinks make rows durable. Every sink has one method, `land`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from warehouse.events.landing import EventKey
from warehouse.events.schema import Row


class Sink(Protocol):
    """Makes rows durable."""

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey] | None:
        """Make rows durable. Return the keys of the new events, or None if duplicates cannot be recognized yet.

        A row with invalid content becomes a rejected event: its `reject_code` is set.

        Raises:
            ProblemError: The rows cannot be made durable now (503); the sender must keep them.
        """
        ...
