"""Fixture for benchmarks and tests of the ingest API: an embedded Postgres, and an API that is ready to start."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.ingest_server import IngestServer
from warehouse.access import logins
from warehouse.kit import migrations
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets

UNBOUNDED = {"RATE_LIMIT_PER_IP": "off", "RATE_LIMIT_PER_SITE": "off"}


@contextmanager
def prepared(
    folder: Path, port: int, settings: dict[str, str], domains: list[str] | None = None
) -> Generator[tuple[IngestServer, EmbeddedPostgres]]:
    """Start a durable Postgres with the current schema, and prepare an API with one site without starting it.

    At the end of the block, both are stopped and the data is deleted.

    Args:
        folder: An empty folder.
        port: Port of Postgres; if it is in use, the next free port.
        settings: Environment variables of the API.
        domains: Domains of the site; None allows any origin.

    Yields:
        The API and the Postgres server.
    """
    secrets = Secrets.load_or_create(folder)
    postgres = EmbeddedPostgres(folder / "postgres", password=secrets.postgres_password)
    try:
        postgres.start(port, or_next_free=True)
        postgres.ensure_database("bench")
        url = postgres.url("bench")
        migrations.migrate(url)
        logins.set_login_passwords(url, secrets)
        server = IngestServer(url, secrets, folder, settings)
        server.add_site(server.site_id, server.site_key, domains)
        try:
            yield server, postgres
        finally:
            server.kill()
    finally:
        postgres.remove()
