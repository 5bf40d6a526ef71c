"""Applies the numbered SQL files in `sql/` with yoyo, under an advisory lock, recorded in the schema `ops`."""

from __future__ import annotations

from typing import Any

import psycopg
import yoyo
from yoyo.backends.base import DatabaseBackend
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, default_migration_table

from warehouse.kit import conninfo, locks
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.installation import shipped
from warehouse.kit.partitioned_indexes import complete_indexes

SQL_DIR = shipped("sql")
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
    time, and an index that a migration makes `on only` a partitioned table is built concurrently before the next one.

    Raises:
        UserError: A migration fails, or its tables stay busy; the database is as the last good one left it.
    """
    with connect(url) as connection, locks.held(connection, LOCK):
        connection.execute("create schema if not exists ops")
        backend = _backend(url)
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
    """Apply one file in a transaction of its own, with its record."""
    try:
        # the connection sets lock_timeout; a file that needs more locks tables with ops.lock_within
        locks.retried(lambda _: _apply_and_record(backend, migration))
    except psycopg.Error as error:
        raise UserError(
            f"The migration {migration.id} failed: {str(error).strip().splitlines()[0]}.",
            "Nothing of it was kept; put the cause right and run `tilda migrate` again.",
        ) from error


def _apply_and_record(backend: DatabaseBackend, migration: Migration) -> None:
    """Apply one file and record it. Yoyo's `apply_one` records later: after a kill in between it applies again."""
    with backend.transaction():
        migration.process_steps(backend, "apply")
        backend.log_migration(migration, "apply")
        backend.mark_one(migration, log=False)
