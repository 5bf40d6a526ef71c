"""Restores a backup into a copy beside the present database, and replaces the database after the copy is verified.

The present database stays in use until the databases are renamed. If the rename fails, the verified copy is kept, and
the next restore of the same backup continues with it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from warehouse.access import logins
from warehouse.archive.runs import archive_lock
from warehouse.backup import backups
from warehouse.backup.database_swap import (
    MAINTENANCE_DATABASE,
    Names,
    check_can_create,
    check_can_replace,
    drop_database,
    has_database,
    put_in_place,
)
from warehouse.backup.manifest import FILE_NAME, Manifest, Steps, compare, sizes
from warehouse.kit import migrations
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.errors import UserError
from warehouse.kit.locks import held
from warehouse.kit.progress import Progress, Say, silent
from warehouse.kit.settings import Settings
from warehouse.privacy import erased_visitors
from warehouse.privacy.erase import ERASE_LOCK, resume

PATIENCE_SECONDS = 10
"""Time to wait until the sessions of a killed restore end."""


@dataclass(frozen=True)
class _Restore:
    """The parameters of a restore, for all steps."""

    url: str
    copy_url: str
    names: Names
    folder: Path
    manifest: Manifest
    mark: str


@dataclass(frozen=True)
class Restored:
    """A restored database.

    Attributes:
        taken_at: Time of the backup's snapshot.
        tables: Number of restored tables; each partition is a table.
        rows: Number of restored rows.
        erased_again: Number of persons who were erased after the backup was made, and again from the restored data.
    """

    taken_at: datetime
    tables: int
    rows: int
    erased_again: int


def restore_and_erase(
    url: str, settings: Settings, name: str, progress: Progress, *, replace: bool = False, say: Say = silent
) -> Restored:
    """Replace the database by a backup, then erase again all persons who were erased after the backup was made.

    Arguments and errors are those of `restore`.
    """
    manifest = restore(url, settings, name, progress, replace=replace, say=say)
    erasures = resume(url, settings)
    rows = sum(content.rows for content in manifest.tables.values())
    return Restored(manifest.taken_at, len(manifest.tables), rows, len(erasures))


def restore(
    url: str, settings: Settings, name: str, progress: Progress, *, replace: bool = False, say: Say = silent
) -> Manifest:
    """Replace the database by a backup.

    Newer records are copied from the present database: erased visitors with their erasures, and the locations of cold
    months' files. Erased visitors that are in the backup are recorded in `ops.erasures` as unfinished erasures;
    `restore_and_erase` finishes them.

    Args:
        url: The owner's address, not through a pooler.
        settings: The folder of backups and the logins' passwords.
        name: A backup's name, or the path of its folder.
        progress: Called with finished rows and the total; each row counts once for loading and once for comparing.
        replace: True if a database with events may be replaced.
        say: Called with a description of each step before it begins.

    Raises:
        UserError: There is no such backup; the database contains events; the login lacks a privilege; the backup cannot
            be loaded or the copy differs from it; or other sessions use the database. The database is unchanged.
    """
    folder = backups.find_backup(settings, name)
    manifest = Manifest.read(folder)
    names = Names.beside(str(conninfo_to_dict(url)["dbname"]))
    job = _Restore(url, replace_in_url(url, database=names.restored), names, folder, manifest, _mark(folder))
    with _maintenance(url, names) as admin:
        say("Checking what the login may do")
        _check(admin, job, replace=replace)
        exists = has_database(admin, names.present)
        if exists:
            drop_database(admin, names.replaced)  # left by a restore that was killed after the rename
        drop_database(admin, names.loading)
        if not _is_verified(admin, job):
            drop_database(admin, names.restored)
            try:
                _load(admin, job, progress, say)
            finally:
                drop_database(admin, names.loading)
        say("Migrating the copy")
        logins.create_missing_logins(job.copy_url, settings.secrets)
        migrations.migrate(job.copy_url)
        _exchange(admin, job, say)
        if exists:
            _drop_former(admin, names, say)
    return manifest


@contextmanager
def _maintenance(url: str, names: Names) -> Generator[psycopg.Connection]:
    """Yield a connection to the maintenance database that holds the lock for restores.

    Raises:
        UserError: Another restore is running, or the server refuses a command.
    """
    with connect(replace_in_url(url, database=MAINTENANCE_DATABASE), application="tilda-backup") as admin:
        give_up = time.monotonic() + PATIENCE_SECONDS
        key = [f"tilda.restore.{names.present}"]
        while admin.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", key).fetchone() != (True,):
            if time.monotonic() < give_up:
                time.sleep(0.2)
                continue
            raise UserError(
                f"Another restore of the database {names.present} is at work.",
                "Wait until it has ended, then try again.",
            )
        try:
            yield admin
        except psycopg.Error as error:
            raise UserError(
                f"The backup was not put in place: {str(error).strip().splitlines()[0]}.",
                f"The database {names.present} is as it was; put the cause right and run the same command again.",
            ) from error


def _check(admin: psycopg.Connection, job: _Restore, *, replace: bool) -> None:
    """Check all conditions of a restore before the copy is loaded."""
    check_can_create(admin, job.names)
    if not has_database(admin, job.names.present):
        return
    with connect(job.url, application="tilda-backup") as present:
        if not replace and _holds_events(present):
            raise UserError(
                f"The database {job.names.present} holds events.",
                "`--replace` puts the backup in its place; what is newer is lost.",
            )
        check_can_replace(admin, present, job.names, set(job.manifest.left_out))


def _load(admin: psycopg.Connection, job: _Restore, progress: Progress, say: Say) -> None:
    """Load the backup into a new database, compare it with the manifest, and mark it as verified."""
    names, manifest = job.names, job.manifest
    url = replace_in_url(job.url, database=names.loading)
    admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(names.loading)))
    with connect(url, application="tilda-backup") as copy:
        say("Loading the backup")
        for roles in migrations.ROLE_FILES:
            copy.execute(roles.read_bytes())
        steps = Steps(progress, {table: content.rows + 1 for table, content in manifest.tables.items()}, 2)
        command = ["pg_restore", f"--jobs={backups.JOBS}", "--exit-on-error", "--no-owner", "--verbose"]
        backups.run_program(copy, url, command, steps, [job.folder / backups.DUMP])
        copy.execute("analyze")
        say("Comparing the copy with the backup")
        compare(copy, manifest, steps)
    say("Keeping the copy")
    with admin.transaction():
        loading, restored = sql.Identifier(names.loading), sql.Identifier(names.restored)
        admin.execute(sql.SQL("alter database {} rename to {}").format(loading, restored))
        admin.execute(sql.SQL("comment on database {} is {}").format(restored, sql.Literal(job.mark)))


def _mark(folder: Path) -> str:
    """Return the comment for a verified copy, which identifies the backup."""
    manifest = hashlib.sha256((folder / FILE_NAME).read_bytes()).hexdigest()[:16]
    return f"Verified copy of the backup {folder.name} (manifest {manifest}), to be put in place by restore-backup."


def _is_verified(admin: psycopg.Connection, job: _Restore) -> bool:
    """Return True if an earlier restore left a verified copy of this backup."""
    row = admin.execute(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [job.names.restored]
    ).fetchone()
    return row == (job.mark,)


def _exchange(admin: psycopg.Connection, job: _Restore, say: Say) -> None:
    """Copy newer records from the present database to the copy, and rename the databases.

    Locks make erasures and rewrites of cold files wait, so that none of them is lost.
    """
    maintenance_url = replace_in_url(job.url, database=MAINTENANCE_DATABASE)
    with connect(maintenance_url, application="tilda-backup") as mover:
        mover.execute("set lock_timeout = '10s'")
        if not has_database(admin, job.names.present):
            say("Renaming the copy")
            put_in_place(admin, mover, job.names)
            return
        say("Carrying over erasures")  # waits until no erasure is running
        with connect(job.url, application="tilda-backup") as present, held(present, ERASE_LOCK), archive_lock(present):
            with connect(job.copy_url) as copy, copy.transaction():
                _carry_over(present, copy)
            say("Exchanging the databases")
            put_in_place(admin, mover, job.names, before_end=present.close, between=lambda: say("Renaming the copy"))


def _drop_former(admin: psycopg.Connection, names: Names, say: Say) -> None:
    """Drop the old database. A failure is only reported, because the restore is complete; the next restore retries."""
    say("Dropping the former database")
    try:
        drop_database(admin, names.replaced)
    except psycopg.Error as error:
        say(f"The database {names.replaced} could not be dropped: {str(error).strip().splitlines()[0]}.")


def _carry_over(present: psycopg.Connection, copy: psycopg.Connection) -> None:
    """Copy records that may be newer than the backup: erasures and the locations of cold files."""
    tables = sizes(present).keys()
    if {"ops.erased_visitors", "ops.erasure_key", "ops.erasures", "archive.cold_files"} <= tables:
        _carry_over_erasures(present, copy)
        _carry_over_cold_files(present, copy)
    for site_id, user_id in erased_visitors.returned(copy):
        copy.execute(
            """
            insert into ops.erasures (site_id, person)
            select %(site)s, jsonb_build_object('visitor_ids', jsonb_build_array(%(visitor)s::text))
            where not exists (
                select from ops.erasures
                where finished_at is null and site_id = %(site)s and person -> 'visitor_ids' ? %(visitor)s
            )
            """,
            {"site": site_id, "visitor": user_id},
        )


def _carry_over_erasures(present: psycopg.Connection, copy: psycopg.Connection) -> None:
    key = "select inner_key, outer_key from ops.erasure_key"
    if present.execute(key).fetchone() == copy.execute(key).fetchone():
        hashes = present.execute("select visitor_hash, erased_at from ops.erased_visitors").fetchall()
        with copy.cursor() as cursor:
            cursor.executemany(
                "insert into ops.erased_visitors (visitor_hash, erased_at) values (%s, %s) on conflict do nothing",
                hashes,
            )
    for (record,) in present.execute("select to_jsonb(e) from ops.erasures as e"):
        copy.execute(
            """
            insert into ops.erasures select * from jsonb_populate_record(null::ops.erasures, %s)
            on conflict (erasure_id) do update set
                finished_at = excluded.finished_at, removed = excluded.removed, person = excluded.person
            """,
            [Jsonb(record)],
        )


def _carry_over_cold_files(present: psycopg.Connection, copy: psycopg.Connection) -> None:
    columns = "url, row_count, byte_count, checksum, oldest, newest, written_at, verified_at, dropped_at"
    for row in present.execute(f"select {columns}, month from archive.cold_files"):  # noqa: S608 - our own columns
        copy.execute(
            f"update archive.cold_files set ({columns}) = (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
            " where month = %s and dropped_at is not null",
            row,
        )


def _holds_events(present: psycopg.Connection) -> bool:
    made = present.execute("select to_regclass('public.events') is not null").fetchone()
    return made == (True,) and present.execute("select from public.events limit 1").fetchone() is not None
