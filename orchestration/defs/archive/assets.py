"""Moves of old months of events to `archive.events`, and later to Parquet files in cold storage."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse.kit.settings import load_settings
from warehouse.partitions.months import list_partitions


@dg.asset(
    key=["archive", "event_months"],
    group_name="events",
    kinds={"postgres", "parquet"},
    owners=["team:data"],
    deps=[["ops", "event_partitions"]],
)
def archived_months(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Move old months of events to `archive.events`, and later export them to Parquet files in cold storage.

    A month moves to the archive after `ARCHIVE_AFTER_MONTHS` and to cold storage after `COLD_AFTER_MONTHS`. Archiving
    attaches the month's partition to another table: no row is copied, and locks last milliseconds. Each Parquet file is
    read back and compared with the partition before the partition is dropped. If a run is killed, the next run finishes
    its work.
    """
    from warehouse.archive import (
        runs,
    )  # import here: Arrow is slow to import, and every Dagster process loads this file

    settings = load_settings()
    steps = runs.run(warehouse.url(), runs.ages_of(settings), settings.cold_storage, datetime.now(UTC))
    for step in steps:
        context.log.info("%s: %s, %s events", step.action, f"{step.month:%Y-%m}", f"{step.rows:,}")
    months = list_partitions(warehouse.url())
    return dg.MaterializeResult(
        metadata={
            "finished_steps": table(steps),
            "archived_months": sum(month.place == "archive" for month in months),
            "cold_months": sum(month.place == "cold" for month in months),
            "cold_bytes": sum(month.bytes for month in months if month.place == "cold"),
            "months": table(months),
        }
    )
