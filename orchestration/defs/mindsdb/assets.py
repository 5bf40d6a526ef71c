"""The champion models in MindsDB, for users who read scores with a MySQL client."""

from typing import Any

import dagster as dg

from ml.errors import MindsDBError
from ml.features import load_targets
from orchestration.defs.propensity.assets import OWNERS, propensity_scores
from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse.kit.database import reader_url
from warehouse.kit.errors import UserError
from warehouse.kit.settings import load_settings
from warehouse.propensity import store
from warehouse.propensity.mindsdb_server import mindsdb_login


@dg.asset(key=["mindsdb", "propensity"], deps=[propensity_scores], group_name="ml", kinds={"mindsdb"}, owners=OWNERS)
def mindsdb_model(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Publish the champion model of each site and target to MindsDB.

    The server is the one at `MINDSDB_URL`, or the one that the stack runs. Without a server, the run succeeds and
    reports the status "not configured". MindsDB reads Postgres with a read-only login for the schemas `marts` and `ml`.
    For a sample of visitors, the scores from MindsDB are compared with those of scikit-learn.
    """
    settings = load_settings()
    login = mindsdb_login(settings)
    if login is None:
        context.log.info("MindsDB is not configured. Set MINDSDB_URL, or install MindsDB in the stack: make mindsdb")
        return dg.MaterializeResult(metadata={"status": "not configured"})
    # import here: these modules are slow to import, and every Dagster process loads this file
    from ml.mindsdb_client import Server
    from orchestration.defs.mindsdb import steps

    server = Server(login.url, login.username, login.password)
    database = steps.mindsdb_database(reader_url(settings))
    try:
        with warehouse.connect() as connection:
            champions = [
                champion
                for site_id in store.sites_with_features(connection)
                for target in load_targets(settings.targets_file).values()
                if (champion := steps.publish(connection, server, database, site_id, target))
            ]
    except MindsDBError as error:
        raise UserError(str(error)) from None  # the message is complete; the chained HTTP errors would only add noise
    return dg.MaterializeResult(metadata={"status": "published", "views": table(champions)})
