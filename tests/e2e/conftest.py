"""Fixtures of tests that talk to running processes."""

from collections.abc import Iterator

import pytest
from psycopg import sql

from tests.ingest_server import IngestServer
from warehouse.database import connect, replace_in_url
from warehouse.embedded_postgres import EmbeddedPostgres
from warehouse.secret_store import Secrets


@pytest.fixture(scope="module")
def shared_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """One ingest API for a module's tests that leave nothing behind which another would trip over."""
    folder = tmp_path_factory.mktemp("ingest")
    owner = postgres_server.url("postgres")
    with connect(owner) as admin:
        database = f"shared_{folder.name}"
        admin.execute(sql.SQL("create database {} template tilda_template").format(sql.Identifier(database)))
        url = replace_in_url(owner, database=database)
        server = IngestServer(url, secrets, folder, {"RATE_LIMIT_PER_IP": "off"})
        try:
            server.add_site(server.site_id, server.site_key)
            server.start()
            yield server
        finally:
            server.kill()
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)))
