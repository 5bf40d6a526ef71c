"""The warehouse as a Dagster resource."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg
import psycopg

from warehouse.database import connect, direct_url
from warehouse.settings import load_settings


class Warehouse(dg.ConfigurableResource["Warehouse"]):
    """The owner's login, past a pooler. Nothing connects before an asset asks.

    Attributes:
        database_url: An address to use in place of the settings' own: for tests.
    """

    database_url: str | None = None

    def url(self) -> str:
        """The address.

        Raises:
            UserError: The embedded server is the default and does not run.
        """
        return self.database_url or direct_url(load_settings())

    def connect(self) -> psycopg.Connection:
        """A new connection in autocommit mode."""
        return connect(self.url(), application="tilda-dagster")

    @contextmanager
    def only_one(self, work: str) -> Generator[None]:
        """Hold a lock in Postgres while the block runs, so that the same work never runs twice at a time."""
        with self.connect() as connection:
            connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [f"tilda.{work}"])
            yield
