"""The champion in MindsDB, for whoever reads scores with a MySQL client."""

from typing import Any

import dagster as dg

from ml.errors import MindsDBError
from ml.features import load_targets
from orchestration.defs.propensity.assets import OWNERS, propensity_scores
from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse import propensity
from warehouse.database import reader_url
from warehouse.errors import UserError
from warehouse.mindsdb_login import mindsdb_login
from warehouse.settings import load_settings


@dg.asset(key=["mindsdb", "propensity"], deps=[propensity_scores], group_name="ml", kinds={"mindsdb"}, owners=OWNERS)
def mindsdb_model(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Publishes each champion to a MindsDB server: that of `MINDSDB_URL`, else the one that the stack runs.

    Without either it says "not configured". MindsDB reads with the login that reads marts and ml, and its answers are
    compared with scikit-learn's.
    """
    settings = load_settings()
    login = mindsdb_login(settings)
    if login is None:
        context.log.info("No MindsDB: neither is MINDSDB_URL set, nor does the stack run one (`make mindsdb`).")
        return dg.MaterializeResult(metadata={"status": "not configured"})
    # loaded when it is needed: every process of Dagster's loads this file
    from ml.mindsdb_client import Server
    from orchestration.defs.mindsdb import steps

    server = Server(login.url, login.username, login.password)
    database = steps.login(reader_url(settings))
    try:
        with warehouse.connect() as connection:
            reports = [
                report
                for site_id in propensity.sites_with_features(connection)
                for target in load_targets(settings.targets_file).values()
                if (report := steps.publish(connection, server, database, site_id, target))
            ]
    except MindsDBError as error:
        raise UserError(str(error)) from None  # its sentence says all; the causes under it are the HTTP library's
    return dg.MaterializeResult(metadata={"status": "published", "views": table(reports)})
