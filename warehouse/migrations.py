"""Applies the numbered SQL files in `sql/` with yoyo, under an advisory lock, recorded in the schema `ops`."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
import yoyo
from psycopg import sql
from yoyo.backends.base import DatabaseBackend
from yoyo.migrations import Migration

from warehouse import locks
from warehouse.database import INGEST_LOGIN, PRIVACY_LOGIN, READER_LOGIN, connect
from warehouse.errors import UserError
from warehouse.partitioned_indexes import complete_indexes
from warehouse.secret_store import Secrets
from warehouse.settings import PROJECT_ROOT

SQL_DIR = PROJECT_ROOT / "sql"
LOCK = "tilda.migrate"


def _backend_url(url: str) -> str:
    """The address as yoyo wants it: with psycopg 3, its records in the schema `ops`.

    While a statement waits for a lock, everybody who comes later waits behind it: so each gives up soon.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    options = f"{given.get('options', '')} -c lock_timeout={locks.TIMEOUT}".strip()
    query = urlencode(given | {"options": options, "schema": "ops"}, quote_via=quote)
    return urlunsplit(parts._replace(scheme="postgresql+psycopg", query=query))


def migrate(url: str) -> list[str]:
    """Apply what is missing, each file in a transaction of its own. Returns the names applied.

    Safe to run from several processes at once, and again after a kill. Writers go on: a lock is waited for 40 ms at a
    time, and an index that a migration makes `on only` a partitioned table is built concurrently before the next one.

    Raises:
        UserError: A migration fails, or its tables stay busy; the database is as the last good one left it.
    """
    with connect(url) as connection, locks.held(connection, LOCK):
        connection.execute("create schema if not exists ops")
        backend = yoyo.get_backend(_backend_url(url))
        try:
            # yoyo's own lock is a row that a kill leaves behind; the advisory lock above is the one that counts.
            backend.break_lock()
            missing = backend.to_apply(yoyo.read_migrations(str(SQL_DIR)))
            for migration in missing:
                # a later file may drop the index that a new one replaces
                complete_indexes(connection)
                _apply(backend, migration)
            complete_indexes(connection)
            return [migration.id for migration in missing]
        finally:
            backend.connection.close()


def _apply(backend: DatabaseBackend, migration: Migration) -> None:
    """Apply one file in a transaction of its own."""
    try:
        # its lock_timeout is that of the connection; a file that needs more locks tables with ops.lock_within
        locks.retried(lambda _: backend.apply_one(migration))
    except psycopg.Error as error:
        raise UserError(
            f"The migration {migration.id} failed: {str(error).strip().splitlines()[0]}.",
            "Nothing of it was kept; put the cause right and run `tilda migrate` again.",
        ) from error


def pending_sql(url: str) -> str:
    """The text of the migrations that `migrate` would apply now."""
    with connect(url) as connection:
        known = connection.execute("select to_regclass('ops._yoyo_migration')").fetchone()
        rows = (
            connection.execute("select migration_id from ops._yoyo_migration").fetchall() if known and known[0] else []
        )
    applied = {row[0] for row in rows}
    files = [file for file in sorted(SQL_DIR.glob("*.sql")) if file.stem not in applied]
    return "\n".join(f"-- {file.name}\n{file.read_text()}" for file in files)


def set_login_passwords(url: str, secrets: Secrets) -> None:
    """Give the login roles the passwords that the platform keeps, so that its parts can log in."""
    with connect(url) as connection:
        for login, password in (
            (INGEST_LOGIN, secrets.ingest_password),
            (READER_LOGIN, secrets.reader_password),
            (PRIVACY_LOGIN, secrets.privacy_password),
        ):
            # the hash is made here: the server's log and statistics never see the password
            hashed = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(login), sql.Literal(hashed.decode()))
            )
