"""A restore that is killed, rejected or blocked leaves the current database in use."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.embedded import NOT_DURABLE, running_postgres, set_login_passwords
from tests.postgres import security_table
from tests.postgres.landed import ago, count, event
from warehouse.backup import backups, database_swap, restores
from warehouse.backup.manifest import Manifest
from warehouse.events.landing import land
from warehouse.kit import migrations
from warehouse.kit.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.errors import UserError
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.sites.registry import add_site


def silent(_done: float, _total: float | None) -> None: ...


@pytest.fixture
def settings(tmp_path: Path, secrets: Secrets) -> Settings:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    settings.__dict__["secrets"] = secrets  # the shared server's logins have these passwords
    return settings


def restore_killed_at(step: str, url: str, settings: Settings, name: str) -> None:
    """Restore in a child process that is killed when it begins `step`, or during the load for `in progress`."""

    def kill_at(text: str) -> None:
        if text == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def kill_in_progress(*_: object) -> None:
        kill_at("in progress")

    run = multiprocessing.get_context("fork").Process(
        target=restores.restore, args=[url, settings, name, kill_in_progress], kwargs={"replace": True, "say": kill_at}
    )
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL, step


def leftover_databases(admin: psycopg.Connection) -> list[str]:
    rows = admin.execute(
        r"select datname from pg_database where datname ~ '_(restoring|restored|replaced)$' order by 1"
    )
    return [name for (name,) in rows]


def test_a_restore_killed_at_any_step_leaves_the_database_in_use(database_url: str, settings: Settings) -> None:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    with connect(database_url) as connection:
        land(connection, [event(at=ago(minutes=n)) for n in range(500)])
    done = backups.backup(database_url, settings, silent)
    steps: list[str] = []
    restores.restore(database_url, settings, done.name, silent, replace=True, say=steps.append)
    assert len(steps) == 9
    for number, step in enumerate([*steps[:3], "in progress", *steps[3:]], start=1):
        with connect(database_url) as connection:
            land(connection, [event(user_id=f"before {step}")])
        restore_killed_at(step, database_url, settings, done.name)
        with connect(database_url) as connection:
            left = count(connection, "public.users where user_id ~ '^before '")
            assert left == (0 if step == steps[-1] else number), step
            assert len(land(connection, [event()])) == 1

    with connect(replace_in_url(database_url, database="postgres")) as admin:
        assert leftover_databases(admin) == [f"{conninfo_to_dict(database_url)['dbname']}_replaced"]
        restores.restore(database_url, settings, done.name, silent, replace=True)
        assert leftover_databases(admin) == []
    with connect(database_url) as connection:
        assert count(connection, "events") == 500


@dataclass(frozen=True)
class Managed:
    """A server like that of a hosting provider: the owner of the database is not a superuser.

    Attributes:
        admin: A superuser's connection to another database.
        url: The owner's URL of the database `shop`, whose backup has 20 events.
        backup: The name of its backup.
    """

    server: EmbeddedPostgres
    admin: psycopg.Connection
    url: str
    settings: Settings
    backup: str

    def superuser_session(self) -> psycopg.Connection:
        return connect(self.server.url("shop"), application="psql")

    def restore(self, **options: Any) -> Manifest:
        return restores.restore(self.url, self.settings, self.backup, silent, replace=True, **options)

    def assert_in_use(self) -> None:
        """Assert that the current database still accepts events and kept the event after the backup."""
        with connect(self.url) as owner:
            assert len(land(owner, [event(user_id="still works")])) == 1
            assert count(owner, "public.users where user_id = 'after the backup'") == 1
        with connect(replace_in_url(self.url, user=INGEST_LOGIN, password="test-ingest_password")) as ingest:
            assert len(land(ingest, [event()])) == 1


MANAGED = """
create role anon nologin; create role authenticated nologin; create role service_role nologin bypassrls;
create role shop_owner login createrole createdb bypassrls password 'x';
create database shop owner shop_owner
"""
BIN_FOLDERS = {18: None, 15: security_table.DEBIAN_15}
SERVERS = [18]
if security_table.DEBIAN_15.exists():
    SERVERS.append(pytest.param(15, marks=pytest.mark.long))


@pytest.fixture(scope="module", params=SERVERS)
def managed_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedPostgres]:
    version: int = request.param
    data = tmp_path_factory.mktemp("managed") / "data"
    with running_postgres(
        data, 55470, "x", options=NOT_DURABLE, version=version, bin_folder=BIN_FOLDERS[version]
    ) as server:
        with connect(server.url("postgres")) as admin:
            for statement in MANAGED.split(";"):
                admin.execute(statement.encode())
        yield server


@pytest.fixture
def managed(managed_server: EmbeddedPostgres, settings: Settings) -> Iterator[Managed]:
    """Recreate the database `shop` with a backup and one event after the backup."""
    url = replace_in_url(managed_server.url("shop"), user="shop_owner", password="x")
    with connect(managed_server.url("postgres")) as admin:
        admin.execute("drop database shop with (force)")
        admin.execute("create database shop owner shop_owner")
        with connect(managed_server.url("shop")) as inside:
            # On a server upgraded from Postgres 14, the database owner does not own the schema `public`.
            inside.execute("alter schema public owner to postgres")
            inside.execute("grant all on schema public to shop_owner with grant option")
        migrations.migrate(url)
        set_login_passwords(url, settings.secrets)
        add_site(url, "shop", ["shop.example"], "UTC")
        with connect(url) as owner:
            land(owner, [event(at=ago(minutes=n)) for n in range(20)])
            done = backups.backup(url, settings, silent)
            land(owner, [event(user_id="after the backup")])
        yield Managed(managed_server, admin, url, settings, done.name)
        admin.execute("alter role shop_owner createdb")
        admin.execute("revoke pg_signal_backend from shop_owner")
        for name in leftover_databases(admin):
            admin.execute(f"drop database {name} with (force)".encode())


def revoke_createdb(managed: Managed) -> None:
    managed.admin.execute("alter role shop_owner nocreatedb")


def change_database_owner(managed: Managed) -> None:
    managed.admin.execute("alter database shop owner to postgres")
    managed.admin.execute("grant all on database shop to shop_owner")


def create_foreign_schema(managed: Managed) -> None:
    with managed.superuser_session() as inside:
        inside.execute("create schema auth")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (revoke_createdb, "shop_owner may not create databases"),
        (change_database_owner, "does not own the database shop"),
        (create_foreign_schema, "holds what the backup does not: the schema auth"),
        (Managed.superuser_session, r"is used by postgres \(process \d+, psql\), whose session the login shop_own"),
    ],
)  # fmt: skip
def test_a_restore_that_cannot_succeed_is_rejected_before_loading(
    managed: Managed, block: Callable[[Managed], object], reason: str
) -> None:
    kept = block(managed)
    steps: list[str] = []
    with pytest.raises(UserError, match=reason) as refusal:
        managed.restore(say=steps.append)
    assert refusal.value.remedy
    assert steps == ["Checking what the login may do"]
    assert leftover_databases(managed.admin) == []
    managed.assert_in_use()
    if isinstance(kept, psycopg.Connection):
        kept.close()


def test_a_restore_needs_the_privilege_to_end_sessions_of_the_logins(managed: Managed) -> None:
    """A role with CREATEROLE can create logins, but needs pg_signal_backend to end their sessions."""
    ingest_url = replace_in_url(managed.url, user=INGEST_LOGIN, password=managed.settings.secrets.ingest_password)
    with connect(ingest_url):
        with pytest.raises(UserError, match=INGEST_LOGIN) as refusal:
            managed.restore()
        assert 'grant pg_signal_backend to "shop_owner"' in refusal.value.remedy
        managed.assert_in_use()
        managed.admin.execute("grant pg_signal_backend to shop_owner")
        managed.restore()
    with connect(managed.url) as owner:
        assert count(owner, "events") == 20


@pytest.mark.parametrize("moment", ["Carrying over erasures", "while it waits"])
def test_a_session_that_cannot_be_ended_leaves_the_database_and_keeps_the_copy(
    managed: Managed, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[psycopg.Connection] = []

    def open_session(text: str) -> None:
        if text == "Carrying over erasures":
            sessions.append(managed.superuser_session())

    if moment == "while it waits":
        # simulates a session that begins just after the check
        monkeypatch.setattr(database_swap, "foreign_sessions", lambda *_: [])
    with pytest.raises(UserError, match="The database shop is in use") as refusal:
        managed.restore(say=open_session)
    assert "the verified copy shop_restored is kept" in refusal.value.remedy
    managed.assert_in_use()
    sessions[0].close()
    monkeypatch.undo()
    steps: list[str] = []
    managed.restore(say=steps.append)
    assert "Loading the backup" not in steps
    with connect(managed.url) as owner:
        assert count(owner, "events") == 20
    assert leftover_databases(managed.admin) == []


def test_a_database_that_cannot_be_renamed_is_restored_under_another_name(managed: Managed) -> None:
    """Supabase's only database is `postgres`, which other services use too."""
    of_postgres = replace(managed, url=replace_in_url(managed.url, database="postgres"))
    with pytest.raises(UserError, match="postgres belongs to the server's own services") as refusal:
        of_postgres.restore()
    assert "name another database in DATABASE_URL" in refusal.value.remedy
    beside = replace(managed, url=replace_in_url(managed.url, database="beside"))
    beside.restore()
    with connect(beside.url) as owner:
        assert count(owner, "events") == 20
    managed.admin.execute("drop database beside with (force)")
    managed.assert_in_use()


def test_a_leftover_copy_of_another_backup_is_not_used(managed: Managed) -> None:
    with pytest.raises(ZeroDivisionError):
        managed.restore(say=lambda text: 1 / 0 if text == "Exchanging the databases" else None)  # pyright: ignore
    managed.assert_in_use()
    later = backups.backup(managed.url, managed.settings, silent)
    replace(managed, backup=later.name).restore()
    with connect(managed.url) as owner:
        assert count(owner, "public.users where user_id = 'after the backup'") == 1
