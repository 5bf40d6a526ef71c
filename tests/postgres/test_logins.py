"""Passwords of the login roles are set once and change only on request, even if another machine starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import errors

from tests.embedded import NOT_DURABLE, running_postgres
from tests.ingest_server import IngestServer, page_view
from warehouse.access import logins
from warehouse.kit import migrations
from warehouse.kit.database import INGEST_LOGIN, ConnectionFailedError, connect, ingest_url, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.errors import UserError
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings

# The owner of a managed database is not a superuser, so it cannot see whether a role has a password.
OWNER = """
create role managed_owner login createrole createdb bypassrls password 'x';
create database managed owner managed_owner;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Start a separate server, because roles belong to the whole server."""
    data = tmp_path_factory.mktemp("logins") / "data"
    with running_postgres(data, 55480, "x", options=NOT_DURABLE) as server:
        yield server


@pytest.fixture
def owner_url(server: EmbeddedPostgres) -> Iterator[str]:
    """Yield the owner's URL of an empty database on a managed Postgres."""
    with connect(server.url("postgres")) as admin:
        for statement in filter(str.strip, OWNER.split(";")):
            admin.execute(statement.encode())
        yield replace_in_url(server.url("managed"), user="managed_owner", password="x")
        admin.execute("drop database managed with (force)")
        for role in ("tilda_ingest", "tilda_reader", "tilda_privacy", "anon", "authenticated", "service_role"):
            admin.execute(f"drop role if exists {role}".encode())
        admin.execute("drop role if exists analyst")
        admin.execute("drop role managed_owner")


def machine(folder: Path, url: str, **more: str) -> Settings:
    """Return the settings of a machine with its own DATA_DIR."""
    return Settings(_env_file=None, data_dir=folder, database_url=url, **more)  # pyright: ignore[reportCallIssue, reportArgumentType]


def start(settings: Settings) -> None:
    """Create and check the logins as `tilda up` does."""
    assert settings.database_url is not None
    logins.create_missing_logins(settings.database_url, settings.secrets)
    logins.require_logins(settings.database_url, settings)


def test_a_second_machine_does_not_change_the_passwords(owner_url: str, tmp_path: Path) -> None:
    first, second = machine(tmp_path / "first", owner_url), machine(tmp_path / "second", owner_url)
    start(first)
    with pytest.raises(UserError, match="Another machine made the logins") as refused:
        start(second)
    for remedy in ("secrets.json", "INGEST_PASSWORD", "tilda db logins --rotate"):
        assert remedy in refused.value.remedy
    assert second.secrets.ingest_password not in str(refused.value)
    start(first)
    connect(ingest_url(first)).close()

    # a machine that is given the first machine's passwords works
    known = {name: getattr(first.secrets, name) for name in logins.PASSWORDS.values()}
    third = machine(tmp_path / "third", owner_url, **known)
    start(third)
    connect(ingest_url(third)).close()


def test_rotation_changes_the_passwords(owner_url: str, tmp_path: Path) -> None:
    first, second = machine(tmp_path / "first", owner_url), machine(tmp_path / "second", owner_url)
    start(first)
    logins.rotate_passwords(owner_url, second)
    second = machine(tmp_path / "second", owner_url)
    start(second)
    connect(ingest_url(second)).close()
    assert {login.state for login in logins.list_logins(owner_url, first.secrets)} == {"refused"}
    with pytest.raises(ConnectionFailedError):
        connect(ingest_url(first))


def test_a_failed_rotation_leaves_the_secrets_file_unchanged(
    owner_url: str, tmp_path: Path, server: EmbeddedPostgres
) -> None:
    settings = machine(tmp_path, owner_url)
    start(settings)
    before = (tmp_path / "secrets.json").read_bytes()
    with connect(server.url("postgres")) as admin:
        admin.execute("alter role managed_owner nocreaterole")
        with pytest.raises(errors.InsufficientPrivilege):
            logins.rotate_passwords(owner_url, settings)
    assert (tmp_path / "secrets.json").read_bytes() == before
    connect(ingest_url(settings)).close()


def test_roles_created_without_passwords_get_passwords(
    owner_url: str, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    with connect(owner_url) as connection:
        connection.execute(logins.ROLES_FILE.read_bytes())  # `tilda migrate --sql` prints this file
    superuser = machine(tmp_path, server.url("managed"))
    start(superuser)
    connect(ingest_url(superuser)).close()


def test_passwords_are_stored_as_scram_hashes(owner_url: str, server: EmbeddedPostgres, tmp_path: Path) -> None:
    settings = machine(tmp_path, owner_url)
    start(settings)
    with connect(server.url("postgres")) as admin:
        stored = admin.execute("select rolpassword from pg_authid where rolname = %s", [INGEST_LOGIN]).fetchone()
    assert stored is not None
    assert stored[0].startswith("SCRAM-SHA-256$")


def test_the_password_of_an_embedded_server_can_be_reset(tmp_path: Path) -> None:
    lost, found = (Secrets.load_or_create(tmp_path / name).postgres_password for name in ("lost", "found"))
    server = EmbeddedPostgres(tmp_path / "data", password=lost, options=NOT_DURABLE)
    server.start(25490)
    server.ensure_database("tilda")
    server.stop()
    again = EmbeddedPostgres(tmp_path / "data", password=found, options=NOT_DURABLE)
    try:
        again.start(25490)
        with pytest.raises(UserError, match=r"secrets.json.*tilda db logins --rotate"):
            again.ensure_database("tilda")
        with pytest.raises(UserError, match="tilda down"):
            again.reset_password()
        again.stop()
        again.reset_password()
        again.start(25490)
        again.ensure_database("tilda")
        connect(again.url("tilda")).close()
    finally:
        again.remove()


def test_the_first_machine_lands_events_after_the_second_failed_to_start(owner_url: str, tmp_path: Path) -> None:
    first = machine(tmp_path / "first", owner_url)
    start(first)
    migrations.migrate(owner_url)
    api = IngestServer(owner_url, first.secrets, tmp_path, {"RATE_LIMIT_PER_IP": "off"})
    api.add_site(api.site_id, api.site_key)
    api.start()
    try:
        assert api.send(page_view()).json()["accepted"] == 1
        with pytest.raises(UserError):
            start(machine(tmp_path / "second", owner_url))
        # End the API's connections: only a new connection would fail after a password change.
        with connect(owner_url) as owner:
            owner.execute("grant tilda_ingest to current_user")
            owner.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tilda_ingest'")
        answer = api.send(page_view(), page_view()).json()
        assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (2, 0, [])
        assert api.count() == 3
    finally:
        api.kill()
