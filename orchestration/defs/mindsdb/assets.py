"""The champion in MindsDB, for whoever reads scores with a MySQL client."""

from typing import Any

import dagster as dg

from ml.features import load_targets
from ml.mindsdb_client import Server
from orchestration.defs.mindsdb import steps
from orchestration.defs.propensity.assets import OWNERS, propensity_model
from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse import propensity
from warehouse.database import reader_url
from warehouse.settings import load_settings


@dg.asset(key=["mindsdb", "propensity"], deps=[propensity_model], group_name="ml", kinds={"mindsdb"}, owners=OWNERS)
def mindsdb_model(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Publishes each champion to the MindsDB server of `MINDSDB_URL`; without one it says "not configured".

    MindsDB reads with the login that reads marts and ml, and its answers are compared with scikit-learn's.
    """
    settings = load_settings()
    if settings.mindsdb_url is None:
        context.log.info("MINDSDB_URL is not set: nothing to publish to.")
        return dg.MaterializeResult(metadata={"status": "not configured"})
    server = Server(settings.mindsdb_url, settings.mindsdb_username, settings.mindsdb_password)
    database = steps.login(reader_url(settings))
    with warehouse.connect() as connection:
        reports = [
            report
            for site_id in propensity.sites_with_features(connection)
            for target in load_targets().values()
            if (report := steps.publish(connection, server, database, site_id, target))
        ]
    return dg.MaterializeResult(metadata={"status": "published", "views": table(reports)})
