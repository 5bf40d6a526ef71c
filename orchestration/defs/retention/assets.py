"""Deletion of rows that are kept for a limited time."""

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
    """Delete rejected events, claimed times, visitors and sessions after the times in the settings.

    The settings are `REJECTED_KEEP_DAYS`, `CLAIMS_KEEP_DAYS`, `USERS_KEEP_MONTHS` and `SESSIONS_KEEP_MONTHS`. The row
    of a visitor or session is kept while Postgres may hold one of its events. The salts of cookieless visitors are
    deleted when their day is over.
    """
    from warehouse.retention import expired_rows as retention  # import here: it loads Arrow, which is slow to import

    expired = retention.run(warehouse.url(), load_settings())
    for one in expired:
        context.log.info("%s: deleted %s rows older than %s", one.table, f"{one.rows:,}", f"{one.before:%Y-%m-%d}")
    return dg.MaterializeResult(metadata={"deleted_rows": sum(one.rows for one in expired), "by_table": table(expired)})
