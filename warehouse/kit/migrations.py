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
ROLE_FILES = (SQL_DIR / "0000_roles.sql", SQL_DIR / "0023_modeller_role.sql")
"""Migrations that create roles. They can be repeated: a restore runs them on a server without the roles."""
LOCK = "tilda.migrate"


def _backend(url: str) -> DatabaseBackend:
    """Connect yoyo with psycopg 3 and with its records in the schema `ops`.

    The lock timeout is short, because later statements queue behind a statement that waits for a lock.
    """
    given = conninfo.parameters(url)
    options = f"{given.pop('options', '')} -c lock_timeout={locks.TIMEOUT}".strip()
    arguments: dict[str, Any] = given | {"options": options, "schema": "ops", "prepare_threshold": None}
    # yoyo passes the arguments to psycopg. They are not a URL, which cannot express every connection string.
    address = DatabaseURI("postgresql+psycopg", None, None, None, None, arguments.pop("dbname", None), arguments)
    backend = PostgresqlPsycopgBackend(address, default_migration_table)
    backend.init_database()
    return backend


def migrate(url: str) -> list[str]:
    """Apply pending migrations, each file in a separate transaction. Return the names of the applied migrations.

    Several processes may call this at once, and it may be repeated after a kill. Writers are not blocked for long: lock
    timeouts are short (`locks.TIMEOUT`), and an index that a migration creates `on only` a partitioned table is built
    concurrently before the next migration.

    Raises:
        UserError: A migration failed, or its tables stayed busy; earlier migrations stay applied.
    """
    with connect(url) as connection, locks.held(connection, LOCK):
        connection.execute("create schema if not exists ops")
        backend = _backend(url)
        try:
            # yoyo's own lock is a row that a kill leaves behind. The advisory lock above replaces it.
            backend.break_lock()
            missing = backend.to_apply(yoyo.read_migrations(str(SQL_DIR)))
            for migration in missing:
                # a later migration may drop an index that a new index replaces, so the new one must be complete
                complete_indexes(connection)
                _apply(backend, migration)
            complete_indexes(connection)
            return [migration.id for migration in missing]
        finally:
            backend.connection.close()


def _apply(backend: DatabaseBackend, migration: Migration) -> None:
    """Apply one migration and record it, in one transaction; retry while its tables are busy."""
    try:
        # The connection sets lock_timeout. A migration that needs a longer timeout uses ops.lock_within.
        locks.retried(lambda _: _apply_and_record(backend, migration))
    except psycopg.Error as error:
        raise UserError(
            f"The migration {migration.id} failed: {str(error).strip().splitlines()[0]}.",
            "It was rolled back. Correct the cause, then run `tilda migrate` again.",
        ) from error


def _apply_and_record(backend: DatabaseBackend, migration: Migration) -> None:
    """Apply and record one migration in one transaction. yoyo's `apply_one` would record it in a second one."""
    with backend.transaction():
        migration.process_steps(backend, "apply")
        backend.log_migration(migration, "apply")
        backend.mark_one(migration, log=False)
