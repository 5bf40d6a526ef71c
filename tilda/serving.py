"""Last step of the demo: publish the models to MindsDB, and read scores from MindsDB."""

from __future__ import annotations

import subprocess

from ml.errors import MindsDBError
from ml.mindsdb_client import Client, Server
from tilda import console, mindsdb
from tilda.materialize import materialize
from warehouse.kit.database import connect, direct_url
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.propensity import store
from warehouse.propensity.mindsdb_server import mindsdb_login

TARGET = "conversion_7d"


def serve(settings: Settings, site_id: str, installing: subprocess.Popen[bytes] | None) -> None:
    """Publish the models to MindsDB and print its highest scores for `site_id`.

    Does nothing without a MindsDB server or a model in use.

    Args:
        settings: Settings of the running stack.
        site_id: Site whose scores are printed.
        installing: Process that installs the stack's MindsDB server; None if the stack does not run one.

    Raises:
        UserError: MindsDB cannot be installed, does not start, or answers with an error.
    """
    if installing is not None:
        with console.waiting("Waiting for MindsDB"):
            if installing.wait() != 0:
                raise UserError("MindsDB cannot be installed.", f"See the log: {mindsdb.LOG}")
            mindsdb.wait_until_serving(settings)
    login = mindsdb_login(settings)
    with connect(direct_url(settings)) as connection:
        champion = store.champion(connection, site_id, TARGET)
    if login is None or champion is None:
        return
    with console.progress("Publishing to MindsDB") as advance:
        materialize(settings, f'key:"{mindsdb.ASSET}"', advance)
    query = f"SELECT user_id, propensity FROM propensity_{site_id} ORDER BY propensity DESC LIMIT 5"  # noqa: S608 - ours
    try:
        rows = Client(Server(login.url, login.username, login.password)).sql(query)
    except MindsDBError as error:
        raise UserError(str(error)) from error
    console.print_table(f"MindsDB: {query}", list(rows.columns), rows.to_numpy().tolist())
    mindsdb.tell_how_to_connect(settings)
