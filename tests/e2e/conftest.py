"""Fixtures for tests that send requests to running processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql

from tests.ingest_server import UNLIMITED, IngestServer
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


@contextmanager
def running_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, folder: Path, settings: dict[str, str]
) -> Iterator[IngestServer]:
    """Run an ingest API on a new database; stop the API and drop the database at the end."""
    owner = postgres_server.url("postgres")
    with connect(owner) as admin:
        database = f"shared_{folder.name}"
        admin.execute(sql.SQL("create database {} template tilda_template").format(sql.Identifier(database)))
        server = IngestServer(replace_in_url(owner, database=database), secrets, folder, settings)
        try:
            server.add_site(server.site_id, server.site_key)
            server.start()
            yield server
        finally:
            server.kill()
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)))


@pytest.fixture(scope="module")
def shared_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """Run one ingest API for the tests of a module that do not affect each other."""
    folder = tmp_path_factory.mktemp("ingest")
    with running_ingest(postgres_server, secrets, folder, UNLIMITED) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """Run an ingest API with low rate limits, non-default paths and trusted proxies."""
    settings = {
        "RATE_LIMIT_PER_IP": "20/5 minutes",
        "RATE_LIMIT_PER_SITE": "60/5 minutes",
        "TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
        "BOT_EXCEPTIONS": "shop-monitor, other-monitor",
        "SERVICE_KEY": secrets.service_key,
        "TILDA_WEBHOOK_TOKEN": "hook-secret",
        "EVENTS_PATH": "/e",
        "COLLECTOR_PATH": "/assets/c.js",
        "PIXEL_PATH": "/p.gif",
    }
    with running_ingest(postgres_server, secrets, tmp_path_factory.mktemp("guarded"), settings) as server:
        yield server
