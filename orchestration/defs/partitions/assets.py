"""The months of `public.events`."""

from typing import Any

import dagster as dg

from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse import partitions


@dg.asset(
    key=["ops", "event_partitions"],
    group_name="events",
    kinds={"postgres"},
    owners=["team:data"],
)
def event_partitions(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Keeps the current month and the next three ready, so that no event waits for its partition.

    Events of a month that nobody foresaw wait in `events_default`; this moves them into a partition of their own.
    """
    made = partitions.ensure(warehouse.url())
    waiting = partitions.waiting(warehouse.url())
    months = partitions.list_partitions(warehouse.url())
    context.log.info("Made %s", ", ".join(f"{month:%Y-%m}" for month in made) or "nothing: all were there")
    for month, rows in waiting.items():
        context.log.warning("%s events wait for an archived month: tilda restore %s", rows, f"{month:%Y-%m}")
    return dg.MaterializeResult(
        metadata={
            "made": [f"{month:%Y-%m}" for month in made],
            "waiting_events": sum(waiting.values()),
            "partitions": len(months),
            "bytes": sum(month.bytes for month in months),
            "months": table(months),
        }
    )
