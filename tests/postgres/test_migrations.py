"""Migrations are applied once and recorded, on every supported server, without blocking writers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from yoyo.backends.base import DatabaseBackend

from tests.embedded import NOT_DURABLE, running_postgres
from tests.postgres import security_table
from tests.postgres.dumps import dump, psql
from tests.postgres.landed import ago, at_once, count, event, now
from warehouse.access import logins
from warehouse.archive import moves
from warehouse.backup import backups, restores
from warehouse.events.landing import IMPORT, land
from warehouse.kit import locks, migrations
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.errors import UserError
from warehouse.kit.migration_script import pending_script
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.partitions.months import ensure, ensure_months
from warehouse.privacy.erase import erase
from warehouse.sites.registry import add_site

# The state of a new Supabase project: roles, the schema `auth`, and default grants on everything new in `public`. The
# owner is not a superuser.
SUPABASE = """
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
create role supabase_owner login createrole createdb bypassrls password 'x';
grant anon, authenticated, service_role to supabase_owner with admin option;
create database supabase owner supabase_owner;
"""
IN_ITS_DATABASE = """
alter schema public owner to supabase_owner;
create schema auth;
create table auth.users (id uuid primary key, email text);
create function auth.jwt() returns jsonb language sql stable as $$
    select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;
grant usage on schema auth to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role supabase_owner in schema public
grant all on tables to anon, authenticated, service_role;
alter default privileges for role supabase_owner in schema public
grant all on functions to anon, authenticated, service_role;
alter default privileges for role supabase_owner in schema public
grant all on sequences to anon, authenticated, service_role;
"""
VERSIONS = {16: None} | ({15: security_table.DEBIAN_15} if security_table.DEBIAN_15.exists() else {})


def test_a_second_run_applies_nothing(database_url: str) -> None:
    assert migrations.migrate(database_url) == []
    assert pending_script(database_url) == ""


def test_concurrent_migrations_apply_each_file_once(database_url: str) -> None:
    with connect(database_url) as admin:
        admin.execute("create database twice")
    url = replace_in_url(database_url, database="twice")
    applied = at_once(lambda: migrations.migrate(url), lambda: migrations.migrate(url))
    with connect(database_url) as admin:
        admin.execute("drop database twice with (force)")
    assert sorted(map(len, applied)) == [0, len(list(migrations.SQL_DIR.glob("*.sql")))]


@pytest.fixture(params=sorted(VERSIONS))
def older_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """Start an empty server of an older Postgres version."""
    version: int = request.param
    with running_postgres(
        tmp_path / "data", 55460, "x", options=NOT_DURABLE, version=version, bin_folder=VERSIONS[version]
    ) as server:
        yield server


def test_migrate_erase_backup_and_restore_work_on_supabase_and_older_postgres(
    older_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
) -> None:
    """Supabase's default grants open no table to `anon` or to users who signed up themselves."""
    with connect(older_server.url("postgres")) as admin:
        for statement in filter(str.strip, SUPABASE.split(";")):
            admin.execute(statement.encode())
    url = replace_in_url(older_server.url("supabase"), user="supabase_owner", password="x")
    with connect(older_server.url("supabase")) as admin:
        admin.execute(IN_ITS_DATABASE.encode())
        assert logins.create_missing_logins(url, secrets) == list(logins.PASSWORDS)
        assert migrations.migrate(url) == sorted(file.stem for file in migrations.SQL_DIR.glob("*.sql"))
        assert {login.state for login in logins.list_logins(url, secrets)} == {"ok"}
        assert logins.create_missing_logins(url, secrets) == []
        # a reset in Supabase's dashboard restores the default grants
        admin.execute(IN_ITS_DATABASE[IN_ITS_DATABASE.index("alter default") :].encode())
        add_site(url, "shop", ["shop.example"], "UTC")
        with connect(url) as owner:
            ensure(url, months_ahead=5)
            ensure_months(owner, [now().date().replace(year=2015, day=1)])
            assert len(land(owner, [event(user_id="anna"), event(user_id="boris")])) == 2
            assert len(land(owner, [event(at=now().replace(year=2015, day=1), user_id="anna")], IMPORT)) == 1
            moves.move(owner, now().date().replace(year=2015, day=1), "archive")

        names = security_table.tables(admin)
        assert security_table.actual_rights(admin, names) == security_table.expected_rights(names)
        assert security_table.functions(admin) == security_table.FUNCTIONS
        admin.execute("set role authenticated")
        for claims, rows in (
            ("", 0),
            ("{}", 0),
            ('{"app_metadata":{"role":"visitor"}}', 0),
            ('{"role":"owner","user_metadata":{"role":"owner"}}', 0),
            ('{"app_metadata":{"role":"analyst"}}', 2),
        ):
            admin.execute("select set_config('request.jwt.claims', %s, false)", [claims])
            assert count(admin, "events") == rows, claims

    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    settings.__dict__["secrets"] = secrets
    done = erase(url, settings, "shop", "anna")
    assert (done.left, done.removed["public.events"], done.removed["archive.events"]) == (0, 1, 1)

    # restore on a server that lost everything, including the roles
    taken = backups.backup(url, settings, lambda *_: None)
    with connect(older_server.url("postgres")) as admin:
        admin.execute("drop database supabase with (force)")
        for role in (*security_table.ROLES[2:], "authenticator"):
            admin.execute(f"drop role {role}".encode())
        admin.execute("create role authenticator")
        admin.execute("create role service_role bypassrls")
    restores.restore(older_server.url("supabase"), settings, taken.name, lambda *_: None)
    assert {login.state for login in logins.list_logins(older_server.url("supabase"), secrets)} == {"ok"}
    with connect(older_server.url("supabase")) as admin:
        assert count(admin, "events") == 1
        names = security_table.tables(admin)
        assert security_table.actual_rights(admin, names) == security_table.expected_rights(names)


@pytest.fixture
def new_migrations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a copy of the migrations folder to which a test can add files."""
    folder = tmp_path / "sql"
    folder.mkdir()
    for file in migrations.SQL_DIR.glob("*.sql"):
        (folder / file.name).write_text(file.read_text())
    monkeypatch.setattr(migrations, "SQL_DIR", folder)
    return folder


def test_a_migration_that_waits_for_a_lock_does_not_block_writers(
    database_url: str, new_migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration adds a column and an index while a report holds a lock for 1.5 s."""
    (new_migrations / "9001_campaign.sql").write_text(
        "alter table public.events add column campaign_id text;\n"
        "create index events_campaign on only public.events (site_id, campaign_id);\n"
    )
    with connect(database_url) as owner, connect(database_url) as report, connect(database_url) as writer:
        land(owner, [event(at=ago(minutes=n)) for n in range(300)])
        # Writes would time out behind a migration that waits for its lock without a timeout.
        writer.execute("set lock_timeout = '1s'")
        reading = report.transaction()
        reading.__enter__()
        count(report, "public.events")
        migrating = threading.Thread(target=migrations.migrate, args=[database_url])
        migrating.start()
        writes = 0
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            writes += len(land(writer, [event()]))
            assert migrating.is_alive()
        reading.__exit__(None, None, None)
        while migrating.is_alive():
            writes += len(land(writer, [event()]))
        migrating.join()
        assert count(owner, "events where campaign_id is null") == 300 + writes
        indexes = owner.execute(
            "select bool_and(indisvalid), count(*) from pg_index as i inner join pg_class as c on c.oid = i.indexrelid"
            " where c.relname ~ 'campaign'"
        ).fetchone()
        parts = count(owner, "pg_inherits where inhparent = 'public.events'::regclass")
        assert indexes == (True, parts + 1)
        # a month that is created later has the index too
        ensure(database_url, months_ahead=4)
        assert count(owner, "pg_indexes where indexname ~ 'campaign' or indexdef ~ 'campaign_id'") == parts + 2

    # a migration that never gets its lock fails and leaves nothing behind
    (new_migrations / "9002_never.sql").write_text("alter table public.events add column never text;\n")
    monkeypatch.setattr(locks.retried, "__defaults__", (0.1,))
    with connect(database_url, autocommit=False) as report:
        count(report, "public.events")
        with pytest.raises(UserError, match="keeps the tables busy"):
            migrations.migrate(database_url)
    with connect(database_url) as owner, pytest.raises(errors.UndefinedColumn):
        owner.execute("select never from public.events")


def test_a_migration_gets_its_lock_between_150_ms_transactions(database_url: str) -> None:
    """Three writers take turns so that one of them always holds the table."""
    stop = threading.Event()

    def write(delay: float) -> None:
        time.sleep(delay)
        with connect(database_url) as connection:
            while not stop.is_set():
                with connection.transaction():
                    connection.execute("lock table events in row exclusive mode")
                    connection.execute("select pg_sleep(0.15)")

    writers = [threading.Thread(target=write, args=[number * 0.05]) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        with connect(database_url) as owner:
            started = time.monotonic()
            owner.execute("select ops.lock_within(array['public.events']::regclass[], longest_ms => 1000)")
            assert time.monotonic() - started < 20
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_an_invalid_index_is_rebuilt(database_url: str, new_migrations: Path) -> None:
    (new_migrations / "9001_index.sql").write_text("create index events_title on only public.events (page_title);\n")
    with connect(database_url) as owner:
        month = f"events_{now():%Y_%m}"
        migrations.migrate(database_url)
        owner.execute("drop index events_title")
        owner.execute("create index events_title on only public.events (page_title)")
        # a killed CREATE INDEX CONCURRENTLY leaves an invalid index
        owner.execute(f"create index {month}_events_title on {month} (page_title)".encode())
        owner.execute(
            "update pg_index set indisvalid = false where indexrelid = %s::regclass", [f"{month}_events_title"]
        )
        migrations.migrate(database_url)
        assert count(owner, "pg_index where not indisvalid") == 0


def test_a_failed_migration_is_named_and_rolled_back(database_url: str, new_migrations: Path) -> None:
    (new_migrations / "9001_wrong.sql").write_text("create table public.half ();\nselect 1 / 0;\n")
    with pytest.raises(UserError, match="9001_wrong failed: division by zero"):
        migrations.migrate(database_url)
    with connect(database_url) as owner, pytest.raises(psycopg.errors.UndefinedTable):
        owner.execute("select from public.half")
    assert "create table public.half" in pending_script(database_url)


def test_a_migration_interrupted_before_it_is_recorded_is_rolled_back(
    database_url: str, new_migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (new_migrations / "9001_table.sql").write_text("create table public.once ();\n")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DatabaseBackend, "log_migration", interrupt)
    with pytest.raises(KeyboardInterrupt):
        migrations.migrate(database_url)
    monkeypatch.undo()
    monkeypatch.setattr(migrations, "SQL_DIR", new_migrations)
    assert migrations.migrate(database_url) == ["9001_table"]
    assert migrations.migrate(database_url) == []


STOP = "--set=ON_ERROR_STOP=1"


@pytest.fixture
def empty_url(database_url: str) -> Iterator[str]:
    """Yield the owner's URL of an empty database."""
    with connect(database_url) as admin:
        admin.execute("create database bare")
        yield replace_in_url(database_url, database="bare")
        admin.execute("drop database bare with (force)")


def ledger(url: str) -> list[tuple[str, str, str]]:
    """Return the migrations that yoyo recorded in both `_yoyo_migration` and `_yoyo_log`, and yoyo's version."""
    with connect(url) as connection:
        return connection.execute(
            """
            select m.migration_hash, m.migration_id, l.operation
            from ops._yoyo_migration as m
            inner join ops._yoyo_log as l on m.migration_hash = l.migration_hash and m.migration_id = l.migration_id
            where
                length(l.id) = 36 and l.username <> '' and l.hostname <> '' and l.comment is null
                and abs(extract(epoch from m.applied_at_utc - now() at time zone 'utc')) < 600
                and abs(extract(epoch from l.created_at_utc - now() at time zone 'utc')) < 600
            union all
            select version::text, '', '' from ops._yoyo_version
            order by 2
            """
        ).fetchall()


def without_random_rows(text: str) -> list[str]:
    """Return a dump without yoyo's tables and the database's own random erasure key."""
    return [line for line in text.splitlines() if not line.startswith(("INSERTINTOops._yoyo", "INSERTINTOops.erasure"))]


def test_the_script_run_by_psql_gives_the_same_database_as_migrate(
    database_url: str, empty_url: str, new_migrations: Path
) -> None:
    done = psql(empty_url, pending_script(empty_url), STOP)
    assert done.returncode == 0, done.stderr
    assert ledger(empty_url) == ledger(database_url)
    assert without_random_rows(dump(empty_url)) == without_random_rows(dump(database_url))
    assert pending_script(empty_url) == ""
    assert migrations.migrate(empty_url) == []
    (new_migrations / "9001_later.sql").write_text("create table ops.later ();\n")
    assert migrations.migrate(empty_url) == ["9001_later"]


def test_the_script_upgrades_an_older_database(
    empty_url: str, new_migrations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for file in sorted(new_migrations.glob("*.sql"))[:9]:
        (older / file.name).write_text(file.read_text())
    monkeypatch.setattr(migrations, "SQL_DIR", older)
    assert len(migrations.migrate(empty_url)) == 9
    monkeypatch.setattr(migrations, "SQL_DIR", new_migrations)
    (new_migrations / "9001_column.sql").write_text('alter table public.events add column "Odd name" text;\n')
    (new_migrations / "9002_index.sql").write_text(
        'create unique index "Odd" on only public.events (created_at, event_id, "Odd name");\n'
    )
    (new_migrations / "9003_needs_it.sql").write_text(
        "do $$ begin assert (select indisvalid from pg_index where indexrelid = 'public.\"Odd\"'::regclass); end $$;\n"
    )
    script = pending_script(empty_url)
    assert ("-- 0008_archive.sql" in script, "-- 0009_privacy.sql" in script) == (False, True)
    done = psql(empty_url, script, STOP)
    assert done.returncode == 0, done.stderr
    with connect(empty_url) as owner:
        assert count(owner, "pg_index where not indisvalid") == 0
        months = count(owner, "pg_inherits where inhparent = 'public.events'::regclass")
        assert count(owner, "pg_index where indisunique and indexrelid::regclass::text ~ '_Odd\"$'") == months > 1
    assert pending_script(empty_url) == ""
    assert migrations.migrate(empty_url) == []

    # an earlier migration left this index without its partitions
    with connect(empty_url) as owner:
        owner.execute("create index events_title on only public.events (page_title)")
    assert psql(empty_url, pending_script(empty_url), STOP).returncode == 0
    assert pending_script(empty_url) == ""


def test_a_script_that_fails_applies_nothing_after_the_failure(database_url: str, new_migrations: Path) -> None:
    (new_migrations / "9001_wrong.sql").write_text("create table public.half ();\nselect 1 / 0;\n")
    (new_migrations / "9002_next.sql").write_text("create table public.next ();\n")
    done = psql(database_url, pending_script(database_url))  # without ON_ERROR_STOP, psql continues after an error
    assert "division by zero" in done.stderr
    assert "Apply the migration 9001_wrong first." in done.stderr
    with connect(database_url) as owner:
        assert count(owner, "pg_class where relname in ('half', 'next')") == 0
    assert pending_script(database_url).count("insert into ops._yoyo_migration ") == 2
