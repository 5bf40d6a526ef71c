"""Cookieless visitors in Postgres: the salt of a day, who may read it, and where their IDs may not be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from tests.postgres.dumps import dump
from tests.postgres.landed import at_once, count, event, now
from warehouse.backup import backups, restores
from warehouse.events.landing import land
from warehouse.kit.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.privacy.erase import erase, resume
from warehouse.privacy.export import export
from warehouse.retention import expired_rows
from warehouse.sites.registry import add_site

VISITOR = "cookieless.0123456789abcdefghijkl"
OTHER = "cookieless.zzzzzzzzzzzzzzzzzzzzzz"


@pytest.fixture
def owner(database_url: str) -> psycopg.Connection:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    return connect(database_url)


@pytest.fixture
def settings(tmp_path: Path, secrets: Secrets) -> Settings:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    settings.__dict__["secrets"] = secrets
    return settings


@pytest.fixture
def api_url(database_url: str, secrets: Secrets) -> str:
    return replace_in_url(database_url, user=INGEST_LOGIN, password=secrets.ingest_password)


def salt_at(connection: psycopg.Connection, moment: datetime) -> tuple[bytes, float]:
    row = connection.execute("select salt, valid_seconds from ops.salt_at(%s)", [moment]).fetchone()
    assert row is not None
    return row


def days(connection: psycopg.Connection) -> list[date]:
    return [day for (day,) in connection.execute("select day from ops.daily_salts order by 1")]


def test_each_utc_day_has_one_salt_which_is_deleted_when_the_day_is_over(owner: psycopg.Connection) -> None:
    owner.execute("set timezone = 'Asia/Vladivostok'")
    evening = datetime(2026, 11, 24, 23, 59, 30, tzinfo=UTC)
    first, seconds = salt_at(owner, evening)
    assert (len(first), seconds) == (32, 30)
    assert salt_at(owner, evening.replace(hour=0)) == (first, 24 * 3600 - 59 * 60 - 30)
    assert days(owner) == [date(2026, 11, 24)]
    second, seconds = salt_at(owner, evening + timedelta(seconds=30))
    assert (len(second), seconds) == (32, 24 * 3600)
    assert second != first
    assert days(owner) == [date(2026, 11, 25)], "the salt of the day before is deleted on the first use of the day"


def test_concurrent_workers_get_the_same_salt(owner: psycopg.Connection, api_url: str) -> None:
    for _ in range(5):
        owner.execute("delete from ops.daily_salts")
        found = at_once(*[_salt_of_worker(api_url)] * 8)
        assert len(set(found)) == 1


def _salt_of_worker(url: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with connect(url) as worker:
            row = worker.execute("select salt from public.daily_salt()").fetchone()
            assert row is not None
            return row[0]

    return read


def test_the_public_login_gets_todays_salt_only(owner: psycopg.Connection, api_url: str) -> None:
    salt_at(owner, now() + timedelta(days=1))
    with connect(api_url) as api:
        row = api.execute("select valid_seconds from public.daily_salt()").fetchone()
        assert row is not None
        assert 0 < row[0] <= 24 * 3600
        for statement in (
            "select * from ops.salt_at(now() + interval '1 day')",
            "select * from ops.daily_salts",
            "delete from ops.daily_salts",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                api.execute(statement.encode())
    for role in ("anon", "authenticated", "service_role", "analyst", "tilda_reader", "tilda_privacy"):
        owner.execute(f"set role {role}".encode())
        with pytest.raises(errors.InsufficientPrivilege):
            owner.execute("select * from public.daily_salt()")


def test_retention_deletes_salts_of_past_days(owner: psycopg.Connection, database_url: str, settings: Settings) -> None:
    today = now().date()
    for day in (today, today - timedelta(days=1), today - timedelta(days=2)):
        owner.execute("insert into ops.daily_salts values (%s, %s)", [day, b"s" * 32])
    found = {one.table: one.rows for one in expired_rows.run(database_url, settings)}
    assert found["ops.daily_salts"] == 2
    assert days(owner) == [today]


def test_a_backup_contains_no_salt(owner: psycopg.Connection, database_url: str, settings: Settings) -> None:
    land(owner, [event(user_id=VISITOR)])
    salt, _ = salt_at(owner, now())
    before = dump(database_url)
    done = backups.backup(database_url, settings, lambda *_: None)
    assert salt.hex() in before
    for file in (settings.backup_folder / done.name).rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert salt not in content
        assert salt.hex().encode() not in content
    owner.close()
    restores.restore(database_url, settings, done.name, lambda *_: None, replace=True)
    with connect(database_url) as restored:
        assert days(restored) == []
        assert salt_at(restored, now())[0] != salt
        assert restored.execute(
            "select relpersistence from pg_class where oid = 'ops.daily_salts'::regclass"
        ).fetchone() == ("u",), "an unlogged table is not in WAL archives and replicas"


def test_cookieless_visitors_are_not_in_users(owner: psycopg.Connection) -> None:
    land(owner, [event(user_id=VISITOR), event(user_id="known"), event(user_id=VISITOR), event(user_id="known")])
    assert owner.execute("select user_id, event_count from public.users").fetchall() == [("known", 2)]
    batch = f'[{{"user_id": "{OTHER}"}}, {{"user_id": "other"}}]'
    owner.execute("select public.land_profiles('users', 'shop', %s::json)", [batch])
    assert owner.execute("select user_id from public.users order by 1").fetchall() == [("known",), ("other",)]
    assert count(owner, "public.events where starts_with(user_id, 'cookieless.') and session_id is null") == 2


def test_anon_cannot_insert_the_id_of_a_cookieless_visitor(owner: psycopg.Connection) -> None:
    owner.execute("set role anon")
    for insert in (
        "insert into events (site_id, user_id, event_type) values ('shop', %s, 'hello')",
        "insert into sessions (site_id, user_id, session_id) values ('shop', %s, gen_random_uuid())",
    ):
        owner.execute(insert.encode(), ["visitor-1"])
        owner.execute(insert.encode(), [None])
        with pytest.raises(errors.InsufficientPrivilege):
            owner.execute(insert.encode(), [VISITOR])
    owner.execute("insert into users (site_id, user_id) values ('shop', 'visitor-2')")
    owner.execute("insert into users (site_id, user_id) values ('shop', %s)", [VISITOR])  # is skipped
    owner.execute("reset role")
    assert owner.execute("select user_id from users order by 1").fetchall() == [("visitor-1",), ("visitor-2",)]


def test_a_cookieless_visitor_of_today_can_be_erased(
    owner: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    land(owner, [event(user_id=VISITOR, at=now()), event(user_id=VISITOR), event(user_id=OTHER)])
    done = backups.backup(database_url, settings, lambda *_: None)
    assert [(held["place"], held["count"]) for held in export(database_url, settings, "shop", VISITOR)["held"]] == [
        ("public.events", 2)
    ]
    assert erase(database_url, settings, "shop", VISITOR).removed["public.events"] == 2
    assert not land(owner, [event(user_id=VISITOR)]), "later events of the day are dropped"
    assert owner.execute("select user_id from public.events").fetchall() == [(OTHER,)]
    owner.close()
    restores.restore(database_url, settings, done.name, lambda *_: None, replace=True)
    (again,) = resume(database_url, settings)
    assert again.removed["public.events"] == 2
