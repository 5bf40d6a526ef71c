"""Monthly partitions of `public.events`."""

from typing import Any

import dagster as dg

from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse.partitions import months as partitions


@dg.asset(
    key=["ops", "event_partitions"],
    group_name="events",
    kinds={"postgres"},
    owners=["team:data"],
)
def event_partitions(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Create the partitions of the current month and the next three months before events need them.

    An event whose month has no partition lands in the default partition, `events_default`. The run creates the missing
    partition with these events in it. Events of an archived month stay in the default partition until the month is
    restored; the run logs a warning with the command.
    """
    made = partitions.ensure(warehouse.url())
    waiting = partitions.waiting(warehouse.url())
    months = partitions.list_partitions(warehouse.url())
    context.log.info("Created partitions: %s", ", ".join(f"{month:%Y-%m}" for month in made) or "none, all exist")
    for month, rows in waiting.items():
        context.log.warning(
            "%s events belong to an archived month. Restore the month: tilda restore %s", rows, f"{month:%Y-%m}"
        )
    return dg.MaterializeResult(
        metadata={
            "created": [f"{month:%Y-%m}" for month in made],
            "events_of_archived_months": sum(waiting.values()),
            "partitions": len(months),
            "bytes": sum(month.bytes for month in months),
            "months": table(months),
        }
    )
