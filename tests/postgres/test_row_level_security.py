"""Privileges and row-level security, checked in the catalogue and by running statements as each role."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from tests.postgres import security_table
from tests.postgres.landed import count, event, now
from warehouse.events.landing import land
from warehouse.kit.database import INGEST_LOGIN, PRIVACY_LOGIN, READER_LOGIN, connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets
from warehouse.partitions.months import ensure_months
from warehouse.sites.registry import add_site


@pytest.fixture
def owner(database_url: str) -> psycopg.Connection:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    connection = connect(database_url)
    ensure_months(connection, [now().date().replace(year=2015)])
    land(connection, [event(user_id="u", session_id=None)])
    return connection


def test_privileges_are_as_decided(owner: psycopg.Connection) -> None:
    """This covers all tables, partitions by their own names, and new dbt models."""
    owner.execute("create table marts.new_mart (a int, b int); create table intermediate.new_step (a int, b int)")
    owner.execute(
        "create view staging.new_source as select 1 as a, 2 as b; create view marts.new_view as select 1 as a"
    )
    names = security_table.tables(owner)
    decided = security_table.expected_rights(names)
    assert [name for name in names if name not in decided] == [], "add these tables to security_table.DECISIONS"
    assert sorted(security_table.DECISIONS.keys() - set(names)) == [], (
        "remove these tables, which no longer exist, from security_table.DECISIONS"
    )
    assert security_table.actual_rights(owner, names) == decided


def test_a_table_without_a_decision_is_detected(owner: psycopg.Connection) -> None:
    owner.execute("create table public.new_table (a int, b int)")
    owner.execute("create table ml.new_table (a int, b int)")
    names = security_table.tables(owner)
    assert set(names) - security_table.expected_rights(names).keys() == {"public.new_table", "ml.new_table"}


def test_function_privileges_are_as_decided(owner: psycopg.Connection) -> None:
    assert security_table.functions(owner) == security_table.FUNCTIONS


def test_the_logins_cannot_read_dagsters_database(postgres_server: EmbeddedPostgres, secrets: Secrets) -> None:
    """The logins may connect to every database of the server, but may not read Dagster's tables."""
    logins = {
        INGEST_LOGIN: secrets.ingest_password,
        READER_LOGIN: secrets.reader_password,
        PRIVACY_LOGIN: secrets.privacy_password,
    }
    postgres_server.ensure_database("dagster")
    url = postgres_server.url("dagster")
    with connect(url) as owner:
        owner.execute("create table if not exists public.event_logs (id int, event text)")
    for login, password in logins.items():
        with connect(replace_in_url(url, user=login, password=password)) as stranger:
            stranger.execute("set default_transaction_read_only = off")
            for statement in ("select from event_logs", "delete from event_logs", "create table mine ()"):
                assert refused(stranger, statement), (login, statement)


def test_every_table_has_row_level_security(owner: psycopg.Connection) -> None:
    open_tables = owner.execute(
        """
        select c.oid::regclass::text from pg_class as c
        where
            c.relnamespace in ('public'::regnamespace, 'archive'::regnamespace) and c.relkind in ('r', 'p')
            and not c.relrowsecurity
        """
    ).fetchall()
    assert open_tables == []


def refused(connection: psycopg.Connection, statement: str, *arguments: object) -> bool:
    try:
        with connection.transaction():
            connection.execute(statement.encode(), arguments)
    except errors.InsufficientPrivilege:
        return True
    return False


def test_anon_can_insert_but_not_read(owner: psycopg.Connection) -> None:
    month = f"events_{now():%Y_%m}"
    owner.execute("set role anon")
    insert = "insert into {} (site_id, event_type, created_at) values (%s, %s, %s)"
    assert not refused(owner, insert.format("events"), "shop", "hello", now())
    assert not refused(owner, insert.format("events") + " on conflict do nothing", "shop", "hello", now())
    assert not refused(owner, "insert into sessions (site_id, session_id) values ('shop', gen_random_uuid())")
    for statement in (
        insert.format("events") + " returning id",
        insert.format(month),
        insert.format("events_default"),
        insert.format("archive.events"),
    ):
        assert refused(owner, statement, "shop", "hello", now()), statement
    assert refused(owner, insert.format("events"), "unknown", "hello", now())
    for table in ("events", month, "events_default", "users", "sessions", "sites", "event_claims", "rejected_events"):
        for statement in ("select * from {}", "delete from {}", "lock table {}", "truncate {}"):
            assert refused(owner, statement.format(table)), statement.format(table)


def is_rejected(connection: psycopg.Connection, table: str, **values: str) -> bool:
    """Return whether a privilege, a policy or a CHECK rejects a row of these SQL expressions."""
    statement = f"insert into {table} ({', '.join(values)}) values ({', '.join(values.values())})"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except (errors.InsufficientPrivilege, errors.CheckViolation):
        return True
    return False


def test_anon_can_insert_only_sender_columns_within_bounds(owner: psycopg.Connection) -> None:
    owner.execute("set role anon")
    base = {"site_id": "'shop'", "event_type": "'page_view'"}
    ids = dict.fromkeys(("session_id", "visit_id", "tab_id"), "gen_random_uuid()")
    assert not is_rejected(owner, "events", **base | ids)
    for column, good, bad in (
        ("created_at", "now() - interval '34 days'", "now() - interval '36 days'"),
        ("created_at", "now() + interval '24 hours'", "now() + interval '26 hours'"),
        ("ip_address", "'203.0.113.0/24'", "'203.0.113.77'"),
        ("ip_address", "'203.0.0.0/16'", "'203.0.113.77/24'"),
        ("ip_address", "'2001:db8:1::/48'", "'2001:db8:1:2::/64'"),
        ("ip_address", "'2002:cb00:7100::/40'", "'2002:cb00:714d::/48'"),
        ("ip_address", "null", "'::ffff:203.0.113.77'"),
        ("source", "'direct'", "'api'"),
        ("payload", """jsonb_build_object('x', repeat('x', 10000))""", "jsonb_build_object('x', repeat('x', 10240))"),
        ("click_ids", """'{"gclid": "x"}'""", "'[]'"),
        ("click_ids", "null", "jsonb_build_object('gclid', repeat('x', 30000))"),
        *(
            (column, f"repeat('ж', {most})", f"repeat('ж', {most + 1})")
            for column, most in (
                ("event_type", 64), ("user_id", 128), ("device_type", 64), ("browser", 128), ("os", 128),
                ("page_host", 255), ("referrer_host", 255), ("user_agent", 1024), ("page_title", 1024),
                ("target_element", 1024), ("target_text", 1024), ("page_url", 4096), ("page_path", 4096),
                ("referrer", 4096), ("utm_source", 512), ("utm_medium", 512), ("utm_campaign", 512),
                ("utm_term", 512), ("utm_content", 512),
            )
        ),
    ):  # fmt: skip
        assert not is_rejected(owner, "events", **base | {column: good}), (column, good)
        assert is_rejected(owner, "events", **base | {column: bad}), (column, bad)
    for column, value in (
        ("received_at", "now()"), ("loaded_at", "now()"), ("id", "1"), ("is_bot", "true"),
    ):  # fmt: skip
        assert is_rejected(owner, "events", **base | {column: value}), column


def test_anon_cannot_set_counters_or_times_out_of_bounds(owner: psycopg.Connection) -> None:
    owner.execute("set role anon")
    for table, base, times in (
        ("users", {"site_id": "'shop'", "user_id": "'u-2'"}, ("first_seen_at", "last_seen_at")),
        ("sessions", {"site_id": "'shop'", "session_id": "gen_random_uuid()"}, ("started_at", "last_seen_at")),
    ):
        assert not is_rejected(owner, table, **base)
        assert is_rejected(owner, table, **base | {"event_count": "9223372036854775807"})
        assert is_rejected(owner, table, **base | {"event_count": "0"})
        assert is_rejected(owner, table, **base | {"updated_at": "now()"})
        for column in times:
            assert not is_rejected(owner, table, **base | {column: "now() - interval '34 days'"})
            for far in ("now() - interval '36 days'", "now() + interval '26 hours'", "'infinity'", "'-infinity'"):
                assert is_rejected(owner, table, **base | {column: far}), (table, column, far)
    assert is_rejected(owner, "sessions", site_id="'shop'", session_id="gen_random_uuid()", is_bot="true")
    assert is_rejected(
        owner, "sessions", site_id="'shop'", session_id="gen_random_uuid()", landing_page="repeat('x', 4097)"
    )


def test_a_counter_at_its_maximum_does_not_reject_a_flush(owner: psycopg.Connection) -> None:
    """Direct clients could set counters in earlier releases."""
    session_id = uuid4()
    owner.execute(
        "insert into users (site_id, user_id, event_count) values ('shop', 'full', 9223372036854775807)",
    )
    owner.execute(
        "insert into sessions (site_id, session_id, event_count) values ('shop', %s, 9223372036854775807)", [session_id]
    )
    rows = [event(user_id="full", session_id=session_id), event(user_id="other", session_id=session_id)]
    assert len(land(owner, rows)) == 2
    assert [row.reject_code for row in rows] == [None, None]


def test_a_stolen_ingest_login_can_only_land_events(
    database_url: str, secrets: Secrets, owner: psycopg.Connection
) -> None:
    key = owner.execute("select public_key from sites").fetchone()
    tables = [
        name
        for (name,) in owner.execute(
            """
            select c.oid::regclass::text from pg_class as c
            inner join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind in ('r', 'p', 'v') and n.nspname in ('public', 'archive', 'ops', 'ml')
            """
        )
    ]
    assert len(tables) > 15
    thief = connect(replace_in_url(database_url, user=INGEST_LOGIN, password=secrets.ingest_password))
    assert key is not None
    assert thief.execute("select site_id from list_sites() where public_key = %s", key).fetchall() == [("shop",)]
    assert len(land(thief, [event()])) == 1
    for table in tables:
        for statement in (
            "select from {}",
            "insert into {} default values",
            "delete from {}",
            "truncate {}",
            "drop table {}",
        ):
            assert refused(thief, statement.format(table)), statement.format(table)
    for statement in (
        "select ops.insert_events('[]', true)",
        "select ops.import_events('[]')",
        "select ops.make_month('2015-01-01')",
        "select ops.ensure_partitions()",
        "select ops.close_partition('public.events'::regclass)",
        "select nextval('public.events_id_seq')",
        "create table public.mine ()",
        "create schema mine",
        "set role postgres",
        "set role anon",
        "set role service_role",
        "set role analyst",
        "copy (select 1) to program 'true'",
        "select pg_read_file('/etc/passwd')",
        "alter role tilda_ingest superuser",
    ):
        assert refused(thief, statement), statement
    with pytest.raises(errors.InsufficientPrivilege), thief.transaction():
        thief.execute(sql.SQL("select id from {}").format(sql.Identifier(f"events_{now():%Y_%m}")))
    assert count(owner, "events") == 2


@pytest.mark.parametrize(
    ("claims", "is_member"),
    [
        (None, True),  # without Supabase, the database role decides
        ("", False),
        ("{}", False),
        ('{"app_metadata":{"role":"visitor"}}', False),
        ('{"role":"owner","user_metadata":{"role":"owner"}}', False),
        ('{"app_metadata":{"role":"analyst"}}', True),
        ('{"app_metadata":{"role":"owner"}}', True),
    ],
)
def test_authenticated_users_have_access_only_with_a_team_role(
    owner: psycopg.Connection, claims: str | None, *, is_member: bool
) -> None:
    """On Supabase anyone may sign up; only team members have a role in app_metadata."""
    if claims is not None:
        owner.execute("create schema auth")
        owner.execute("select set_config('request.jwt.claims', %s, false)", [claims])
    owner.execute("insert into sessions (site_id, session_id) values ('shop', gen_random_uuid())")
    owner.execute("set role authenticated")
    inserts = {
        "sites": "(site_id, name, public_key) values ('blog', 'Blog', 'k')",
        "users": "(site_id, user_id) values ('blog', 'v')",
        "sessions": "(site_id, session_id) values ('blog', gen_random_uuid())",
        "events": "(site_id, event_type, created_at) values ('blog', 'hello', now() - interval '20 days')",
    }
    for table, values in inserts.items():
        assert count(owner, table) == int(is_member), table
        assert refused(owner, f"insert into {table} {values}") is not is_member, table
        for statement in (f"update {table} set site_id = site_id", f"delete from {table}"):
            changed = owner.execute(statement.encode()).rowcount
            assert (changed > 0) is is_member, statement
    assert refused(owner, f"select * from events_{now():%Y_%m}")
    assert refused(owner, "select * from event_claims")
