"""Replaces a database by a copy, atomically.

Both databases are renamed in one transaction, which locks the present database against new sessions while it waits for
open sessions to end. After a failure or a kill, Postgres rolls the transaction back: the present database keeps its
name and accepts connections.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import LiteralString, Self

import psycopg
from psycopg import errors, sql

from warehouse.backup.manifest import foreign_schemas
from warehouse.kit.errors import UserError

MAINTENANCE_DATABASE = "postgres"
"""Database to connect to for creating and renaming others. Other services use it by name, so it is never replaced."""
POLL_SECONDS = 0.05
WAIT_SECONDS = 120

_SESSIONS: LiteralString = """
    select
        a.pid,
        format('%%s (process %%s%%s)', a.usename, a.pid, ', ' || nullif(a.application_name, '')) as label,
        me.rolsuper
        or not r.rolsuper and (pg_has_role(r.oid, 'usage') or pg_has_role('pg_signal_backend', 'usage')) as may_end
    from pg_stat_activity as a
    inner join pg_roles as r on a.usesysid = r.oid
    inner join pg_roles as me on me.rolname = current_user
    where a.datname = %s
    order by a.pid
"""
_IS_LOCKED: LiteralString = """
    select exists (
        select from pg_locks
        where
            pid = %(pid)s and granted and locktype = 'object' and classid = 'pg_database'::regclass
            and objid = (select oid from pg_database where datname = %(database)s) and mode = 'AccessExclusiveLock'
    )
"""


@dataclass(frozen=True)
class Names:
    """The databases of a restore.

    Attributes:
        present: The database to replace.
        loading: The copy while the backup is loaded.
        restored: The copy after it was verified.
        replaced: The old database until it is dropped.
    """

    present: str
    loading: str
    restored: str
    replaced: str

    @classmethod
    def beside(cls, present: str) -> Self:
        """Return the names for replacing a database."""
        return cls(present, f"{present}_restoring", f"{present}_restored", f"{present}_replaced")


def has_database(admin: psycopg.Connection, name: str) -> bool:
    """Return True if the server has a database with this name."""
    return admin.execute("select from pg_database where datname = %s", [name]).fetchone() is not None


def drop_database(admin: psycopg.Connection, name: str) -> None:
    """Drop a database, if it exists, and end its sessions."""
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def check_can_create(admin: psycopg.Connection, names: Names) -> None:
    """Check that the login may create databases, and that the database may be replaced.

    Raises:
        UserError: A check failed.
    """
    if names.present in {MAINTENANCE_DATABASE, "template0", "template1"}:
        raise UserError(
            f"The database {names.present} belongs to the server's own services and cannot be replaced.",
            "Restore the backup beside it: name another database in DATABASE_URL (and DATABASE_DIRECT_URL), which need"
            " not exist, and run the same command.",
        )
    row = admin.execute("select rolcreatedb or rolsuper from pg_roles where rolname = current_user").fetchone()
    if row != (True,):
        raise UserError(
            f"The login {admin.info.user} may not create databases, so the backup cannot be loaded beside the present"
            " one.",
            f'Let a superuser run `alter role "{admin.info.user}" createdb`, or restore on a server of your own.',
        )


def check_can_replace(admin: psycopg.Connection, present: psycopg.Connection, names: Names, left_out: set[str]) -> None:
    """Check that the login may rename the database, can end its sessions, and would not delete other roles' schemas.

    Args:
        admin: A connection to the maintenance database.
        present: A connection to the database to replace.
        names: The databases.
        left_out: Schemas of other roles that are not in the backup.

    Raises:
        UserError: A check failed.
    """
    login, database = admin.info.user, names.present
    owned = admin.execute("select pg_has_role(datdba, 'usage') from pg_database where datname = %s", [database])
    if owned.fetchone() != (True,):
        raise UserError(
            f"The login {login} does not own the database {database} and may not rename it.",
            f'Let a superuser run `alter database "{database}" owner to "{login}"`, or name another database in'
            " DATABASE_URL, which need not exist.",
        )
    row = present.execute("select array_agg(nspname) from pg_namespace where nspname = any(%s)", [sorted(left_out)])
    lost = sorted({*foreign_schemas(present), *((row.fetchone() or (None,))[0] or ())})
    if lost:
        raise UserError(
            f"The database {database} also holds what the backup does not: the schema {lost[0]}"
            + (f" and {len(lost) - 1} more" if lost[1:] else "")
            + ". Replacing the database would delete it.",
            "Restore the backup beside it: name another database in DATABASE_URL (and DATABASE_DIRECT_URL), which need"
            " not exist, and run the same command.",
        )
    sessions = foreign_sessions(admin, database)
    if sessions:
        raise UserError(
            f"The database {database} is used by {sessions[0]}"
            + (f" and {len(sessions) - 1} more" if sessions[1:] else "")
            + f", whose session the login {login} may not end.",
            "Close the session (`tilda down` ends those of the stack), or let a superuser run"
            f' `grant pg_signal_backend to "{login}"`, which covers all but superusers.',
        )


def foreign_sessions(admin: psycopg.Connection, database: str) -> list[str]:
    """Return the sessions in a database that this login may not end, as role, process ID and application."""
    return [label for _, label, may_end in admin.execute(_SESSIONS, [database]) if not may_end]


def put_in_place(
    admin: psycopg.Connection,
    mover: psycopg.Connection,
    names: Names,
    *,
    before_end: Callable[[], None] = lambda: None,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Rename the present database, if it exists, to `names.replaced`, and the restored copy to `names.present`.

    Args:
        admin: A connection to the maintenance database, in autocommit mode.
        mover: Another connection to it, for the transaction that renames.
        names: The databases. The copy must have no sessions.
        before_end: Called after the present database is locked against new sessions, before its sessions are ended.
        between: Called in the transaction, between the two renames.

    Raises:
        UserError: Sessions that this login may not end use the database. Nothing was changed.
    """
    exists = has_database(admin, names.present)
    sessions = foreign_sessions(admin, names.present)
    if sessions:
        raise _in_use(names, sessions)

    def rename() -> None:
        with mover.transaction():
            if exists:
                _rename(mover, names.present, names.replaced)  # waits 5 seconds for sessions to end
                between()
            _rename(mover, names.restored, names.present)

    with ThreadPoolExecutor(max_workers=1) as pool:
        renaming = pool.submit(rename)
        try:
            if exists:
                _end_sessions_until(renaming, admin, mover, names.present, before_end)
            renaming.result()
        except errors.ObjectInUse as error:
            sessions = foreign_sessions(admin, names.present)
            raise _in_use(names, sessions or [str(error.diag.message_detail).rstrip(".")]) from error
        except BaseException:
            mover.cancel()
            raise


def _in_use(names: Names, sessions: list[str]) -> UserError:
    return UserError(
        f"The database {names.present} is in use by sessions that this login may not end: {', '.join(sessions)}.",
        f"Nothing was changed, and the verified copy {names.restored} is kept: close them and run the same command"
        " again, which then only puts the copy in place.",
    )


def _end_sessions_until(
    renaming: Future[None],
    admin: psycopg.Connection,
    mover: psycopg.Connection,
    database: str,
    before_end: Callable[[], None],
) -> None:
    """End the sessions of a database that is being renamed, after new sessions are locked out."""
    locked, give_up = False, time.monotonic() + WAIT_SECONDS
    while not renaming.done() and time.monotonic() < give_up:
        if not locked:
            row = admin.execute(_IS_LOCKED, {"pid": mover.info.backend_pid, "database": database}).fetchone()
            locked = row == (True,)
            if locked:
                before_end()
        if locked:
            for pid, _, may_end in admin.execute(_SESSIONS, [database]).fetchall():
                if may_end:
                    admin.execute("select pg_terminate_backend(%s)", [pid])
        time.sleep(POLL_SECONDS)


def _rename(connection: psycopg.Connection, old: str, new: str) -> None:
    connection.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(old), sql.Identifier(new)))
