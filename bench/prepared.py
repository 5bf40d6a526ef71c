"""What a campaign or benchmark of the ingest API stands on: a Postgres of its own, and an API to start."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.ingest_server import IngestServer
from warehouse import logins, migrations
from warehouse.embedded_postgres import EmbeddedPostgres
from warehouse.secret_store import Secrets

UNBOUNDED = {"RATE_LIMIT_PER_IP": "off", "RATE_LIMIT_PER_SITE": "off"}


@contextmanager
def prepared(
    folder: Path, port: int, settings: dict[str, str], domains: list[str] | None = None
) -> Generator[tuple[IngestServer, EmbeddedPostgres]]:
    """A durable, migrated Postgres in `folder` and an API with one site, not started; both are gone afterwards.

    Args:
        folder: An empty one.
        port: Of Postgres, or the next one that is free.
        settings: Of the API.
        domains: Of the site; any origin without.
    """
    secrets = Secrets.load_or_create(folder)
    postgres = EmbeddedPostgres(folder / "postgres", password=secrets.postgres_password)
    try:
        postgres.start(port)
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
