"""Applies the numbered SQL files in `sql/` with yoyo, under an advisory lock, recorded in the schema `ops`."""

from __future__ import annotations

from functools import partial
from typing import Any

import psycopg
import yoyo
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, default_migration_table

from warehouse import conninfo, locks
from warehouse.database import connect
from warehouse.errors import UserError
from warehouse.partitioned_indexes import complete_indexes
from warehouse.settings import PROJECT_ROOT

SQL_DIR = PROJECT_ROOT / "sql"
LOCK = "tilda.migrate"


def _backend(url: str) -> DatabaseBackend:
    """Connect yoyo: with psycopg 3, its records in the schema `ops`.

    While a statement waits for a lock, every later one waits behind it, so each gives up soon.
    """
    given = conninfo.parameters(url)
    options = f"{given.pop('options', '')} -c lock_timeout={locks.TIMEOUT}".strip()
    arguments: dict[str, Any] = given | {"options": options, "schema": "ops", "prepare_threshold": None}
    # yoyo passes these on to psycopg; made here, because a URL cannot say all that a connection string can
    address = DatabaseURI("postgresql+psycopg", None, None, None, None, arguments.pop("dbname", None), arguments)
    backend = PostgresqlPsycopgBackend(address, default_migration_table)
    backend.init_database()
    return backend


def migrate(url: str) -> list[str]:
    """Apply what is missing, each file in a transaction of its own. Returns the names applied.

    Safe to run from several processes at once, and again after a kill. Writers go on: a lock is waited for 40 ms at a
    time, and an index that a migration makes `on only` a partitioned table is built concurrently afterwards.

    Raises:
        UserError: A migration fails, or its tables stay busy; the database is as the last good one left it.
    """
    with connect(url) as connection:
        connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", [LOCK])
        connection.execute("create schema if not exists ops")
        backend = _backend(url)
        try:
            # yoyo's own lock is a row that a kill leaves behind; the advisory lock above is the one that counts.
            backend.break_lock()
            missing = backend.to_apply(yoyo.read_migrations(str(SQL_DIR)))
            for migration in missing:
                _apply(backend, migration)
            complete_indexes(connection)
            return [migration.id for migration in missing]
        finally:
            backend.connection.close()


def _apply(backend: DatabaseBackend, migration: Migration) -> None:
    """Apply one file in a transaction of its own."""
    try:
        locks.retried(partial(backend.apply_one, migration))
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
