"""Fixtures of tests that talk to running processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg import sql

from tests.ingest_server import IngestServer
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


@contextmanager
def running_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, folder: Path, settings: dict[str, str]
) -> Iterator[IngestServer]:
    """An ingest API with a database of its own, for as long as the context."""
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
    """One ingest API for a module's tests that leave nothing behind which another would trip over."""
    folder = tmp_path_factory.mktemp("ingest")
    with running_ingest(postgres_server, secrets, folder, {"RATE_LIMIT_PER_IP": "off"}) as server:
        yield server


@pytest.fixture(scope="module")
def guarded_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """One with small bounds and every setting of its own, behind a proxy that says who the visitor is."""
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
