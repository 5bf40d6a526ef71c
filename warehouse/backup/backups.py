"""Backups of the whole database: a dump in pg_dump's directory format and a manifest with the checksum of each table.

The dump and the manifest are of one snapshot. A backup is written under a temporary name and renamed when it is
complete. `warehouse.backup.restores` restores one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from warehouse.backup.manifest import (
    FILE_NAME,
    Manifest,
    Progress,
    Steps,
    contents,
    foreign_schemas,
    sequences_of,
    sizes,
)
from warehouse.kit.database import client_arguments, connect
from warehouse.kit.embedded_postgres import programs
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings

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
                left_out = foreign_schemas(connection)
                others = [f"--exclude-schema={name}" for name in left_out]
                run_program(connection, url, [*command, *others, f"--file={partial / DUMP}"], steps)
                tables = contents(connection, list(weights), steps)
                manifest = Manifest(taken_at, tables, sequences_of(connection), left_out)
                manifest.write(partial)
                partial.rename(folder)
            except OSError as error:
                raise UserError(f"The backup cannot be written: {error}.", "Check BACKUP_DIR and its disk.") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    delete_expired(settings)
    return _describe(folder, settings)


def delete_expired(settings: Settings) -> list[str]:
    """Delete expired backups, except the newest, and what interrupted ones left. Returns the names of the former."""
    now = datetime.now(UTC)
    expired = [one.name for one in list_backups(settings)[:-1] if one.expires_at <= now]
    leftovers = [path.name for path in settings.backup_folder.glob(f"{PARTIAL}*") if _age(path) > timedelta(days=1)]
    for name in (*expired, *leftovers):
        shutil.rmtree(settings.backup_folder / name)
    return expired


def find_backup(settings: Settings, name: str) -> Path:
    """The folder of a backup, by its name or path.

    Raises:
        UserError: There is no such backup.
    """
    for folder in (settings.backup_folder / name, Path(name)):
        if (folder / FILE_NAME).is_file():
            return folder
    known = [one.name for one in list_backups(settings)]
    raise UserError(
        f"There is no backup {name!r}.",
        f"The newest is {known[-1]}." if known else "`tilda backup` makes one.",
    )


_FINISHED = re.compile(r"finished item \d+ TABLE DATA (\S+)")


def run_program(
    connection: psycopg.Connection, url: str, command: Sequence[str], steps: Steps, operands: Sequence[Path] = ()
) -> None:
    """Run pg_dump or pg_restore of the version that fits the server, and report each finished table to `steps`.

    Args:
        connection: Tells the version of the server.
        url: The database.
        command: The program's name and its options.
        steps: Counts the tables.
        operands: Arguments after the options.

    Raises:
        UserError: The program fails.
    """
    version = connection.info.server_version // 10_000
    program = programs(16 if version <= 16 else 18) / command[0]
    shown, environment = client_arguments(url)
    arguments = [*command[1:], f"--dbname={shown}", *map(str, operands)]
    said: list[str] = []
    with subprocess.Popen(
        [str(program), *arguments],
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


def _describe(folder: Path, settings: Settings) -> Backup:
    taken_at = Manifest.read(folder).taken_at
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Backup(folder.name, taken_at, taken_at + timedelta(days=settings.backup_keep_days), size)


def _age(path: Path) -> timedelta:
    return datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC)
