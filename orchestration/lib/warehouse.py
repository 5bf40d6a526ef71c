"""The warehouse as a Dagster resource."""

import dagster as dg
import psycopg

from warehouse.kit.database import connect, direct_url
from warehouse.kit.settings import load_settings


class Warehouse(dg.ConfigurableResource["Warehouse"]):
    """Connections with the database owner's login, directly to Postgres and not through a pooler.

    Creating the resource opens no connection.

    Attributes:
        database_url: Database URL that replaces the one from the settings; used by tests.
    """

    database_url: str | None = None

    def url(self) -> str:
        """Return the database URL.

        Raises:
            UserError: The settings select the embedded server, and it is not running.
        """
        return self.database_url or direct_url(load_settings())

    def connect(self) -> psycopg.Connection:
        """Open a new connection in autocommit mode."""
        return connect(self.url(), application="tilda-dagster")
