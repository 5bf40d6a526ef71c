"""Logins of analysts: their privileges, and how they are added and removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from warehouse.access import analysts
from warehouse.access.analysts import add_analyst, list_analysts, remove_analyst
from warehouse.kit.conninfo import parameters
from warehouse.kit.database import ConnectionFailedError, connect, replace_in_url
from warehouse.kit.errors import UserError


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    """Yield the owner's connection. Roles belong to the whole server, so analysts that a test leaves are removed."""
    with connect(database_url) as connection:
        connection.execute("create table marts.sessions (n int); insert into marts.sessions values (7)")
        yield connection
    for analyst in list_analysts(database_url):
        remove_analyst(database_url, analyst.name)


@pytest.mark.usefixtures("owner")
def test_an_analyst_reads_marts_and_nothing_else(database_url: str) -> None:
    access = add_analyst(database_url, "anna")
    assert parameters(access.url)["user"] == access.user == "anna"
    assert access.password not in repr(access)
    assert access.jdbc == f"jdbc:postgresql://127.0.0.1:{access.port}/{access.database}?sslmode=prefer"
    with connect(access.url) as anna:
        assert anna.execute("select n from marts.sessions").fetchone() == (7,)
        assert anna.execute("select count(*) from ml.propensity_scores").fetchone() == (0,)
        assert anna.execute("show statement_timeout").fetchone() == ("1min",)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            anna.execute("create table public.mine ()")
        # A session can switch off the read-only default, so privileges must protect the tables.
        anna.execute("set default_transaction_read_only = off")
        for statement in (
            "select from public.events",
            "delete from marts.sessions",
            "create table public.mine ()",
            "create role more",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                anna.execute(statement.encode())
        with contextlib.ExitStack() as others:
            for _ in range(analysts.CONNECTIONS - 1):
                others.enter_context(connect(access.url))
            with pytest.raises(ConnectionFailedError, match="too many connections"):
                connect(access.url)
            assert list_analysts(database_url) == [analysts.Analyst("anna", analysts.CONNECTIONS, analysts.CONNECTIONS)]


@pytest.mark.parametrize(
    "name",
    ["", "Anna", "1st", "an na", 'x"; drop role postgres; --', "a" * 64, "tilda_ingest", "postgres", "pg_me", "анна"],
)
def test_invalid_or_reserved_names_are_rejected(database_url: str, name: str) -> None:
    with pytest.raises(UserError, match=r"cannot be the name|is reserved"):
        add_analyst(database_url, name)


@pytest.mark.usefixtures("owner")
def test_adding_an_existing_analyst_is_rejected_and_keeps_the_password(database_url: str) -> None:
    access = add_analyst(database_url, "anna")
    with pytest.raises(UserError, match="There is a role anna already"):
        add_analyst(database_url, "anna")
    connect(access.url).close()


def test_removing_an_analyst_ends_sessions_and_privileges(database_url: str, owner: psycopg.Connection) -> None:
    access = add_analyst(database_url, "anna")
    add_analyst(database_url, "boris")
    owner.execute("grant select on public.sites to anna")  # a manual grant
    with connect(access.url) as anna:
        assert remove_analyst(database_url, "anna").connections == 1
        with pytest.raises(psycopg.OperationalError):
            anna.execute("select 1")
    with pytest.raises(ConnectionFailedError):
        connect(access.url)
    assert [analyst.name for analyst in list_analysts(database_url)] == ["boris"]
    with pytest.raises(UserError, match="no analyst 'anna'"):
        remove_analyst(database_url, "anna")


def test_other_roles_cannot_be_removed(database_url: str) -> None:
    for name in ("tilda_reader", "tilda_ingest", "postgres", "analyst"):
        with pytest.raises(UserError, match="no analyst"):
            remove_analyst(database_url, name)


def test_an_analyst_who_owns_objects_is_not_removed(database_url: str, owner: psycopg.Connection) -> None:
    access = add_analyst(database_url, "anna")
    owner.execute("create table public.kept (); alter table public.kept owner to anna")
    with pytest.raises(UserError, match=r"owns 1 object.*reassign owned by anna"):
        remove_analyst(database_url, "anna")
    connect(access.url).close()
    owner.execute("reassign owned by anna to current_user")


def test_a_database_owner_without_superuser_adds_and_removes_analysts(
    database_url: str, owner: psycopg.Connection
) -> None:
    owner.execute("create role managed login createrole password 'x'; grant analyst to managed with admin option")
    url = replace_in_url(database_url, user="managed", password="x")
    try:
        access = add_analyst(url, "anna")
        with connect(access.url) as anna:
            assert remove_analyst(url, "anna").connections == 1
            with pytest.raises(psycopg.OperationalError):
                anna.execute("select 1")
    finally:
        owner.execute("drop role managed")


@pytest.mark.usefixtures("owner")
def test_a_modeller_reads_raw_events_and_writes_only_schemas_of_its_own(database_url: str) -> None:
    access = add_analyst(database_url, "mark", modeller=True)
    assert [(one.name, one.role) for one in list_analysts(database_url)] == [("mark", "modeller")]
    with connect(access.url) as mark:
        for table in ("public.events", "public.sites", "archive.events", "archive.cold_files", "marts.sessions"):
            mark.execute(f"select count(*) from {table}".encode())
        mark.execute("create schema dev_marts; create table dev_marts.sessions as table marts.sessions")
        mark.execute("create table dev_marts.state (like ops.watermarks including all)")
        for statement in (
            "delete from public.events",
            "insert into marts.sessions values (1)",
            "drop table marts.sessions",
            "create table marts.mine ()",
            "create table ops.mine ()",
            "update ops.watermarks set build = 0",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                mark.execute(statement.encode())
        mark.execute("drop schema dev_marts cascade")
