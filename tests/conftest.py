"""Shared fixtures: one embedded Postgres per run, and a migrated database for each test, copied from a template."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from psycopg import sql

from tests.embedded import NOT_DURABLE, migrated_database, running_postgres, set_login_passwords
from tests.ingest_server import IngestServer
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets

TIERS = ("unit", "postgres", "dbt", "e2e", "browser")
# The tiers that may use each slow fixture. Collection fails if a test of another tier uses it.
SLOW_FIXTURES = {
    "postgres_server": {"postgres", "dbt", "e2e", "browser"},
    "ingest_server": {"postgres", "e2e", "browser"},
}
TEMPLATE = "tilda_template"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        tier = item.path.relative_to(here).parts[0]
        if tier not in TIERS:
            raise pytest.UsageError(f"{item.path}: tests belong in one of the folders {', '.join(TIERS)}")
        for name, allowed in SLOW_FIXTURES.items():
            if name in getattr(item, "fixturenames", ()) and tier not in allowed:
                raise pytest.UsageError(f"{item.nodeid}: the tier {tier} may not use {name}")


@pytest.fixture(scope="session")
def secrets() -> Secrets:
    return Secrets(**{field.name: f"test-{field.name}" for field in fields(Secrets)})


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory, secrets: Secrets) -> Iterator[EmbeddedPostgres]:
    """Start the server that all tests share, with a migrated template database."""
    data = tmp_path_factory.mktemp("postgres") / "data"
    with running_postgres(data, 55400, secrets.postgres_password, options=NOT_DURABLE) as server:
        set_login_passwords(migrated_database(server, TEMPLATE), secrets)
        yield server


@pytest.fixture(scope="session")
def _database_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, _database_numbers: Iterator[int]) -> Iterator[str]:
    """Yield the owner's URL of a new migrated database."""
    name = f"test_{next(_database_numbers)}"
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        yield replace_in_url(postgres_server.url("postgres"), database=name)
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def ingest_server(database_url: str, secrets: Secrets, tmp_path: Path) -> Iterator[IngestServer]:
    """Start the public API in its own process, with a site that accepts every origin."""
    server = IngestServer(database_url, secrets, tmp_path, {"RATE_LIMIT_PER_IP": "off"})
    server.add_site(server.site_id, server.site_key)
    server.start()
    try:
        yield server
    finally:
        server.kill()
