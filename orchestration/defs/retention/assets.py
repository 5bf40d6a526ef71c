"""Rows that are kept for a limited time: refusals, claims, salts, and visitors and sessions without events."""

from typing import Any

import dagster as dg

from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse.kit.settings import load_settings


@dg.asset(
    key=["ops", "expired_rows"],
    group_name="events",
    kinds={"postgres"},
    owners=["team:data"],
    deps=[["archive", "event_months"]],
)
def expired_rows(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Delete rejected events, claims, visitors and sessions that are older than the settings `…_KEEP_…` allow.

    The row of a visitor or session stays while one of its events may be in Postgres. The salts of cookieless visitors
    are deleted when their day is over.
    """
    from warehouse.retention import expired_rows as retention  # as with archiving: Arrow

    expired = retention.run(warehouse.url(), load_settings())
    for one in expired:
        context.log.info("%s: %s rows deleted, from before %s", one.table, f"{one.rows:,}", f"{one.before:%Y-%m-%d}")
    return dg.MaterializeResult(metadata={"rows": sum(one.rows for one in expired), "deleted": table(expired)})
