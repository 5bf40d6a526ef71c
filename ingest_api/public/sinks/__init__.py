"""Where rows become durable. Every sink has one method, `land`; a Kafka sink would be another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from warehouse.events.landing import EventKey
from warehouse.events.schema import Row


class Sink(Protocol):
    """Makes rows durable."""

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey] | None:
        """Return the keys of the new events after all rows are durable; None when that cannot be known yet.

        A row that cannot be stored for what is in it becomes a rejected event: its `reject_code` is set.

        Raises:
            ProblemError: The rows cannot be made durable now (503); the sender must keep them.
        """
        ...
