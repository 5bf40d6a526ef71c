"""Backups of the complete database: a dump in pg_dump's directory format, and a manifest with table checksums.

The dump and the manifest use the same snapshot. A backup is written under a temporary name and renamed when it is
complete. `warehouse.backup.restores` restores a backup.
"""

from __future__ import annotations

import itertools
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
        name: Name of the folder: the time of the snapshot.
        taken_at: Time of the snapshot.
        expires_at: Time after which `tilda backup` deletes the backup.
        bytes: Size on disk.
    """

    name: str
    taken_at: datetime
    expires_at: datetime
    bytes: int


def list_backups(settings: Settings) -> list[Backup]:
    """Return the backups, oldest first."""
    folders = sorted(settings.backup_folder.glob(f"*/{FILE_NAME}")) if settings.backup_folder.exists() else []
    return [_describe(path.parent, settings) for path in folders if not path.parent.name.startswith(PARTIAL)]


def backup(url: str, settings: Settings, progress: Progress) -> Backup:
    """Back up the database, and delete expired backups.

    Args:
        url: The owner's address of the database, not through a pooler.
        settings: Folder of backups and their retention period.
        progress: Called with the finished bytes and the total; each table counts once for dump and for checksum.

    Raises:
        UserError: pg_dump failed, or the backup cannot be written.
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
            folder = _new_folder(settings, taken_at)
            partial = settings.backup_folder / f"{PARTIAL}{folder.name}"
            try:
                partial.mkdir(mode=0o700)
                command = [
                    "pg_dump",
                    "--format=directory",
                    f"--jobs={JOBS}",
                    f"--snapshot={snapshot}",
                    "--compress=1",
                    # ops.daily_salts: with the salt of a day, its cookieless visitors could be recognized
                    "--no-unlogged-table-data",
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


def _new_folder(settings: Settings, taken_at: datetime) -> Path:
    """Return the folder for a new backup: its name is the second of the snapshot, numbered if the name is in use."""
    name = taken_at.strftime(NAME_FORMAT)
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(
        folder for one in itertools.chain([name], numbered) if not (folder := settings.backup_folder / one).exists()
    )


def delete_expired(settings: Settings) -> list[str]:
    """Delete expired backups, except the newest, and leftovers of interrupted backups older than a day.

    Returns:
        The names of the deleted backups, without leftovers.
    """
    now = datetime.now(UTC)
    expired = [one.name for one in list_backups(settings)[:-1] if one.expires_at <= now]
    leftovers = [path.name for path in settings.backup_folder.glob(f"{PARTIAL}*") if _age(path) > timedelta(days=1)]
    for name in (*expired, *leftovers):
        shutil.rmtree(settings.backup_folder / name)
    return expired


def find_backup(settings: Settings, name: str) -> Path:
    """Return the folder of a backup, by its name or path.

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
    """Run pg_dump or pg_restore in a version that supports the server, and report each finished table to `steps`.

    Args:
        connection: A connection to the server, for its version.
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
