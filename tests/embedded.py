"""Embedded Postgres servers and migrated databases, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from warehouse.access import logins
from warehouse.kit import migrations
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets

NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Server settings for data that may be lost in a crash: commits do not wait for the disk."""


@contextmanager
def running_postgres(
    data: Path,
    port: int,
    password: str,
    *,
    options: dict[str, str] | None = None,
    version: int = 18,
    bin_folder: Path | None = None,
) -> Generator[EmbeddedPostgres]:
    """Run a Postgres server during the block, then stop it and delete its data.

    Args:
        data: The data directory.
        port: Port of the server; if it is in use, the next free port.
        password: Password of the superuser.
        options: Server settings that replace those of the product, for example `NOT_DURABLE`.
        version: Major version of Postgres.
        bin_folder: Folder of the server's programs; None for those of the installed package.
    """
    server = EmbeddedPostgres(data, password=password, version=version, options=options, bin_folder=bin_folder)
    try:
        server.start(port, or_next_free=True)
        yield server
    finally:
        server.remove()


def migrated_database(server: EmbeddedPostgres, name: str) -> str:
    """Create a database with the current schema, and return its superuser URL."""
    server.ensure_database(name)
    url = server.url(name)
    migrations.migrate(url)
    return url


def set_login_passwords(url: str, secrets: Secrets) -> None:
    """Set the password of every login to the one in `secrets`."""
    with connect(url) as connection, connection.transaction():
        for login, secret in logins.PASSWORDS.items():
            logins.set_password(connection, login, getattr(secrets, secret))
