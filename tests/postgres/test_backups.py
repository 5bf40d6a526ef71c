"""A restored backup equals the database that was backed up, and does not bring back erased visitors."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.postgres.dumps import dump
from tests.postgres.landed import ago, count, event
from warehouse.backup import backups, restores
from warehouse.backup.manifest import Manifest
from warehouse.events.landing import land
from warehouse.kit.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.kit.errors import UserError
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.privacy.erase import erase
from warehouse.sites.registry import add_site


def silent(_done: float, _total: float | None) -> None: ...


@pytest.fixture
def settings(tmp_path: Path, secrets: Secrets) -> Settings:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    settings.__dict__["secrets"] = secrets  # the shared server's logins have these passwords
    return settings


@pytest.fixture
def source(database_url: str) -> psycopg.Connection:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    connection = connect(database_url)
    land(connection, [event(at=ago(minutes=n), user_id=f"visitor-{n % 7}", payload={"n": n}) for n in range(500)])
    connection.execute(
        "create table marts.odd as select 'ä\n\\.'::text as \"a column\", null::int as n, 0.1::float8 as f"
    )
    return connection


def test_a_restored_database_equals_the_backed_up_database(
    source: psycopg.Connection, database_url: str, settings: Settings, secrets: Secrets
) -> None:
    source.execute(
        "insert into archive.cold_files (month, url, row_count, byte_count, checksum, dropped_at)"
        " values ('2014-05-01', 'file:///old', 1, 1, 'x', now())"
    )
    before = dump(database_url)
    progress: list[tuple[float, float | None]] = []
    done = backups.backup(database_url, settings, lambda *step: progress.append(step))
    assert progress[-1][0] == progress[-1][1]
    assert len(progress) > 50
    assert [one.name for one in backups.list_backups(settings)] == [done.name]
    assert done.expires_at - done.taken_at == timedelta(days=30)
    assert settings.backup_folder.stat().st_mode & 0o077 == 0

    land(source, [event(user_id="after the backup")])
    source.execute("update archive.cold_files set url = 'file:///new'")  # an erasure rewrote the file
    with pytest.raises(UserError, match="holds events"):
        restores.restore(database_url, settings, done.name, silent)
    assert count(source, "events") == 501

    progress.clear()
    restores.restore(database_url, settings, done.name, lambda *step: progress.append(step), replace=True)
    assert progress[-1][0] == progress[-1][1]
    assert dump(database_url) == before.replace("file:///old", "file:///new")
    # The ingest login works, and cannot read partitions by their own names.
    with connect(replace_in_url(database_url, user=INGEST_LOGIN, password=secrets.ingest_password)) as ingest:
        assert len(land(ingest, [event()])) == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ingest.execute(f"select from public.events_{datetime.now(UTC):%Y_%m}")


def test_an_erased_visitor_is_erased_again_after_a_restore(
    source: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    done = backups.backup(database_url, settings, silent)
    erasure = erase(database_url, settings, "shop", "visitor-3")
    assert [one.name for one in erasure.backups] == [
        done.name
    ]  # the erasure lists the backups that still contain the visitor
    source.close()
    restored = restores.restore_and_erase(database_url, settings, done.name, silent, replace=True)
    assert restored.erased_again == 1
    assert erasure.removed["public.events"] > 0
    with connect(database_url) as connection:
        assert count(connection, "events where user_id = 'visitor-3'") == 0
        assert not land(connection, [event(user_id="visitor-3")])
        assert count(connection, "ops.erasures where finished_at is not null") == 2


def test_a_damaged_backup_does_not_replace_the_database(
    source: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    done = backups.backup(database_url, settings, silent)
    folder = settings.backup_folder / done.name
    manifest = Manifest.read(folder)
    table = f"public.events_{datetime.now(UTC):%Y_%m}"
    content = manifest.tables[table]
    manifest.tables[table] = type(content)(content.rows, content.checksum + "1")
    manifest.write(folder)
    with pytest.raises(UserError, match="is not what was backed up"):
        restores.restore(database_url, settings, done.name, silent, replace=True)
    for file in (folder / "dump").glob("*.dat.gz"):
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="pg_restore failed"):
        restores.restore(database_url, settings, done.name, silent, replace=True)
    assert count(source, "events") == 500
    assert source.execute("select datname from pg_database where datname ~ '_restoring|_replaced'").fetchall() == []
    with pytest.raises(UserError, match="no backup 'yesterday'"):
        restores.restore(database_url, settings, "yesterday", silent)


def test_expired_and_incomplete_backups_are_deleted_except_the_newest(settings: Settings) -> None:
    now = datetime.now(UTC)
    for age in (90, 40, 31):
        taken_at = now - timedelta(days=age)
        folder = settings.backup_folder / taken_at.strftime(backups.NAME_FORMAT)
        folder.mkdir(parents=True)
        Manifest(taken_at, {}, {}).write(folder)
    incomplete = settings.backup_folder / f"{backups.PARTIAL}x"
    incomplete.mkdir()
    os.utime(incomplete, (time.time() - 100_000,) * 2)
    assert len(backups.delete_expired(settings)) == 2
    assert [one.taken_at for one in backups.list_backups(settings)] == [now - timedelta(days=31)]
    assert not incomplete.exists()
