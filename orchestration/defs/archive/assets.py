"""Months that leave `public.events`: first to `archive.events`, then to Parquet in cold storage."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse.partitions import list_partitions
from warehouse.settings import load_settings


@dg.asset(
    key=["archive", "event_months"],
    group_name="events",
    kinds={"postgres", "parquet"},
    owners=["team:data"],
    deps=[["ops", "event_partitions"]],
)
def archived_months(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Moves months older than `ARCHIVE_AFTER_MONTHS` to `archive.events`, and older than `COLD_AFTER_MONTHS` to files.

    No event is copied on the way to the archive, and nobody waits for it. A file is read back and compared with its
    table before the table is dropped. A run that was killed is finished by the next.
    """
    from warehouse.archive import runs  # Arrow is loaded when it is needed, not by every process of Dagster's

    settings = load_settings()
    steps = runs.run(warehouse.url(), runs.ages_of(settings), settings.cold_storage, datetime.now(UTC))
    for step in steps:
        context.log.info("%s: %s, %s events", step.action, f"{step.month:%Y-%m}", f"{step.rows:,}")
    months = list_partitions(warehouse.url())
    return dg.MaterializeResult(
        metadata={
            "done": table(steps),
            "archived_months": sum(month.place == "archive" for month in months),
            "cold_months": sum(month.place == "cold" for month in months),
            "cold_bytes": sum(month.bytes for month in months if month.place == "cold"),
            "months": table(months),
        }
    )
