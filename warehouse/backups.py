"""Backups of the whole database: pg_dump's directory format and a manifest by which a restore is compared row for row.

The dump and the manifest are of one snapshot. A backup is put together under another name and renamed when it is whole.
A restore goes into a database beside the present one, is compared there, and only then takes its place.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from warehouse import conninfo, logins, migrations
from warehouse.backup_manifest import (
    FILE_NAME,
    Manifest,
    Progress,
    Steps,
    compare,
    contents,
    foreign_schemas,
    sequences_of,
    sizes,
)
from warehouse.database import client_arguments, connect, replace_in_url
from warehouse.embedded_postgres import programs
from warehouse.errors import UserError
from warehouse.settings import Settings

DUMP = "dump"
PARTIAL = ".partial-"
NAME_FORMAT = "%Y%m%dT%H%M%SZ"
JOBS = 2


@dataclass(frozen=True)
class Backup:
    """A backup on disk.

    Attributes:
        name: Its folder, the moment of its snapshot.
        expires_at: From when on `tilda backup` deletes it.
        bytes: On disk.
    """

    name: str
    taken_at: datetime
    expires_at: datetime
    bytes: int


def list_backups(settings: Settings) -> list[Backup]:
    """The backups, oldest first."""
    folders = sorted(settings.backup_folder.glob(f"*/{FILE_NAME}")) if settings.backup_folder.exists() else []
    return [_describe(path.parent, settings) for path in folders if not path.parent.name.startswith(PARTIAL)]


def backup(url: str, settings: Settings, progress: Progress) -> Backup:
    """Back the database up, and delete the backups that have expired.

    Args:
        url: The owner's address, past a pooler.
        settings: Where backups go, and for how long.
        progress: Told bytes of tables: once when they are dumped, once when they are summed up.

    Raises:
        UserError: pg_dump fails, or the disk does.
    """
    settings.backup_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with connect(url, application="tilda-backup") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            row = connection.execute("select pg_export_snapshot(), now()").fetchone()
            assert row is not None
            snapshot, taken_at = row[0], row[1].astimezone(UTC)
            weights = sizes(connection)
            steps = Steps(progress, weights, passes=2)
            folder = settings.backup_folder / taken_at.strftime(NAME_FORMAT)
            partial = settings.backup_folder / f"{PARTIAL}{folder.name}"
            try:
                partial.mkdir(mode=0o700)
                command = [
                    "pg_dump",
                    "--format=directory",
                    f"--jobs={JOBS}",
                    f"--snapshot={snapshot}",
                    "--compress=1",
                    "--verbose",
                ]
                others = [f"--exclude-schema={name}" for name in foreign_schemas(connection)]
                _run(connection, url, [*command, *others, f"--file={partial / DUMP}"], steps)
                manifest = Manifest(taken_at, contents(connection, list(weights), steps), sequences_of(connection))
                manifest.write(partial)
                partial.rename(folder)
            except OSError as error:
                raise UserError(f"The backup cannot be written: {error}.", "Check BACKUP_DIR and its disk.") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    delete_expired(settings)
    return _describe(folder, settings)


def delete_expired(settings: Settings) -> list[str]:
    """Delete the backups whose time is over, and what a killed one left. Returns their names."""
    now = datetime.now(UTC)
    expired = [one.name for one in list_backups(settings)[:-1] if one.expires_at <= now]
    leftovers = [path.name for path in settings.backup_folder.glob(f"{PARTIAL}*") if _age(path) > timedelta(days=1)]
    for name in (*expired, *leftovers):
        shutil.rmtree(settings.backup_folder / name)
    return expired


def restore(url: str, settings: Settings, name: str, progress: Progress, *, replace: bool = False) -> Manifest:
    """Put a backup in the place of the database.

    What must outlive it is carried over from the present database: the list of erased visitors with the accounts of
    their erasures, and where the files of cold months are. Who comes back with the backup though erased is for
    `warehouse.privacy` to erase again.

    Args:
        url: The owner's address, past a pooler.
        settings: Where backups are, and the passwords of the logins.
        name: A backup's name, or the path of its folder.
        progress: Told bytes of the backup: once when they are loaded, once when they are compared.
        replace: Whether a database that holds events may be replaced.

    Raises:
        UserError: There is no such backup, the database holds events, pg_restore fails, or what was restored is not
            what was backed up. The present database stays as it is.
    """
    folder = _find(settings, name)
    manifest = Manifest.read(folder)
    database = conninfo.parameters(url)["dbname"]
    beside = f"{database}_restoring"
    side_url = replace_in_url(url, database=beside)
    maintenance_url = replace_in_url(url, database="postgres")
    logins.create_missing_logins(maintenance_url, settings.secrets)
    with connect(maintenance_url, application="tilda-backup") as admin:
        exists = _has_database(admin, database)
        if exists and not replace and _holds_events(url):
            raise UserError(
                f"The database {database} holds events.",
                "`--replace` puts the backup in its place; what is newer is lost.",
            )
        _drop_database(admin, beside)
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(beside)))
        try:
            with connect(side_url, application="tilda-backup") as side:
                side.execute((migrations.SQL_DIR / "0000_roles.sql").read_bytes())
                steps = Steps(progress, {table: content.rows + 1 for table, content in manifest.tables.items()}, 2)
                command = ["pg_restore", f"--jobs={JOBS}", "--exit-on-error", "--no-owner", "--verbose", "--dbname"]
                _run(side, side_url, [*command, client_arguments(side_url)[0], str(folder / DUMP)], steps, named=True)
                side.execute("analyze")
                compare(side, manifest, steps)
            if exists:
                _carry_over(url, side_url)
            _swap(admin, database, beside, exists=exists)
        finally:
            _drop_database(admin, beside)
    migrations.migrate(url)
    return manifest


_FINISHED = re.compile(r"finished item \d+ TABLE DATA (\S+)")


def _run(
    connection: psycopg.Connection, url: str, command: Sequence[str], steps: Steps, *, named: bool = False
) -> None:
    """Run one of Postgres's own programs, of the version that fits the server, and follow what it says."""
    version = connection.info.server_version // 10_000
    program = programs(16 if version <= 16 else 18) / command[0]
    shown, environment = client_arguments(url)
    address = () if named else (f"--dbname={shown}",)
    said: list[str] = []
    with subprocess.Popen(
        [str(program), *command[1:], *address],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        env=environment,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            found = _FINISHED.search(line)
            if found:
                steps.finish_unqualified(found.group(1))
            elif "error" in line or "detail" in line.lower():
                said.append(line.strip())
    if process.returncode != 0:
        raise UserError(
            f"{command[0]} failed: {said[0] if said else f'code {process.returncode}'}.",
            "Nothing was changed; put the cause right and run it again.",
        )


def _carry_over(url: str, side_url: str) -> None:
    """What was decided after the backup and must hold after it: erasures, and where cold files are now."""
    with connect(url) as present, connect(side_url) as side, side.transaction():
        tables = sizes(present).keys() & sizes(side).keys()
        if not {"ops.erased_visitors", "ops.erasure_key", "ops.erasures", "archive.cold_files"} <= tables:
            return
        key = "select inner_key, outer_key from ops.erasure_key"
        hashes = present.execute("select visitor_hash, erased_at from ops.erased_visitors").fetchall()
        if present.execute(key).fetchone() == side.execute(key).fetchone():
            with side.cursor() as cursor:
                cursor.executemany(
                    "insert into ops.erased_visitors (visitor_hash, erased_at) values (%s, %s) on conflict do nothing",
                    hashes,
                )
        for account in present.execute("select to_jsonb(e) from ops.erasures as e"):
            side.execute(
                """
                insert into ops.erasures select * from jsonb_populate_record(null::ops.erasures, %s)
                on conflict (erasure_id) do update set
                    finished_at = excluded.finished_at, removed = excluded.removed, person = excluded.person
                """,
                [Jsonb(account[0])],
            )
        columns = "url, row_count, byte_count, checksum, oldest, newest, written_at, verified_at, dropped_at"
        for row in present.execute(f"select {columns}, month from archive.cold_files"):  # noqa: S608 - our own columns
            side.execute(
                f"update archive.cold_files set ({columns}) = (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
                " where month = %s and dropped_at is not null",
                row,
            )


def _swap(admin: psycopg.Connection, database: str, beside: str, *, exists: bool) -> None:
    """Give the restored database the name of the present one, which is dropped."""
    names = {"database": sql.Identifier(database), "beside": sql.Identifier(beside)}
    replaced = f"{database}_replaced"
    _drop_database(admin, replaced)
    if exists:
        # nobody may come back between the end of the sessions and the new name
        admin.execute(sql.SQL("alter database {database} with allow_connections false").format(**names))
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])
        _rename(admin, database, replaced)
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [beside])
    _rename(admin, beside, database)
    _drop_database(admin, replaced)


def _rename(admin: psycopg.Connection, old: str, new: str) -> None:
    """Rename a database as soon as its ended sessions are gone."""
    give_up = time.monotonic() + 30
    while True:
        try:
            admin.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(old), sql.Identifier(new)))
        except errors.ObjectInUse:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            return


def _drop_database(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def _has_database(admin: psycopg.Connection, name: str) -> bool:
    return admin.execute("select from pg_database where datname = %s", [name]).fetchone() is not None


def _holds_events(url: str) -> bool:
    with connect(url) as connection:
        made = connection.execute("select to_regclass('public.events') is not null").fetchone()
        return bool(made and made[0]) and connection.execute("select from public.events limit 1").fetchone() is not None


def _find(settings: Settings, name: str) -> Path:
    for folder in (settings.backup_folder / name, Path(name)):
        if (folder / FILE_NAME).is_file():
            return folder
    known = [one.name for one in list_backups(settings)]
    raise UserError(
        f"There is no backup {name!r}.",
        f"The newest is {known[-1]}." if known else "`tilda backup` makes one.",
    )


def _describe(folder: Path, settings: Settings) -> Backup:
    taken_at = Manifest.read(folder).taken_at
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Backup(folder.name, taken_at, taken_at + timedelta(days=settings.backup_keep_days), size)


def _age(path: Path) -> timedelta:
    return datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC)
