"""Fixture for benchmarks and tests of the ingest API: an embedded Postgres, and an API that is ready to start."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.embedded import migrated_database, running_postgres, set_login_passwords
from tests.ingest_server import IngestServer
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


@contextmanager
def api_and_postgres(
    folder: Path, port: int, settings: dict[str, str], domains: list[str] | None = None
) -> Generator[tuple[IngestServer, EmbeddedPostgres]]:
    """Start a durable Postgres with the current schema, and set up an API with one site without starting it.

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
    with running_postgres(folder / "postgres", port, secrets.postgres_password) as postgres:
        url = migrated_database(postgres, "bench")
        set_login_passwords(url, secrets)
        server = IngestServer(url, secrets, folder, settings)
        server.add_site(server.site_id, server.site_key, domains)
        try:
            yield server, postgres
        finally:
            server.kill()
