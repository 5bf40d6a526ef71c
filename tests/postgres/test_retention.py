"""Expired rows are deleted in batches; users and sessions with events in Postgres are kept."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import psycopg
import pytest
from click.testing import CliRunner

from orchestration.defs.retention.assets import expired_rows
from orchestration.lib.warehouse import Warehouse
from tests.postgres.landed import ago, count, event, now
from tilda.cli import cli
from warehouse.archive import cold, moves, runs
from warehouse.archive.months import months_after
from warehouse.events.landing import IMPORT, land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings
from warehouse.partitions.months import ensure_months
from warehouse.privacy.erase import erase
from warehouse.retention import expired_rows as retention
from warehouse.sites.registry import add_site

SESSION, ANOTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]


@pytest.fixture
def owner(database_url: str) -> psycopg.Connection:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    return connect(database_url)


@pytest.fixture(autouse=True)
def _refused_origins(owner: psycopg.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
    """Create ops.refused_origins if no migration created it."""
    owner.execute(
        """
        create table if not exists ops.refused_origins (
            site_id text, origin text, day date, requests bigint, last_at timestamptz
        )
        """
    )


def insert(owner: psycopg.Connection, table: str, **values: Any) -> None:
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    owner.execute(f"insert into {table} ({columns}) values ({places})".encode(), list(values.values()))


def add_visitor(owner: psycopg.Connection, user_id: str, seen: datetime, updated: datetime | None = None) -> None:
    """Insert a visitor and a session with old times; the session ID is made from the visitor ID."""
    updated = updated or seen
    insert(owner, "users", site_id="shop", user_id=user_id, first_seen_at=seen, last_seen_at=seen, updated_at=updated)
    session = UUID(bytes=user_id.encode().ljust(16)[:16])
    times = {"started_at": seen, "last_seen_at": None, "updated_at": updated}
    insert(owner, "sessions", site_id="shop", session_id=session, user_id=user_id, **times)
    insert(owner, "ops.shared_sessions", site_id="shop", session_id=session, user_id="somebody else")


def names(owner: psycopg.Connection, table: str) -> list[str]:
    return [name for (name,) in owner.execute(f"select user_id from {table} order by 1".encode())]


def deleted(expired: list[retention.Expired]) -> dict[str, int]:
    return {one.table: one.rows for one in expired}


def test_expired_rows_are_deleted(owner: psycopg.Connection, database_url: str, settings: Settings) -> None:
    refusal = {"site_id": "shop", "code": "invalid_event", "detail": "", "body": "{}", "source": "api"}
    for days in (89, 91, 92):
        insert(owner, "rejected_events", received_at=ago(days=days), **refusal)
        origin = {"site_id": "shop", "origin": "https://else.example", "requests": 1, "last_at": now()}
        insert(owner, "ops.refused_origins", day=ago(days=days).date(), **origin)
    claims = owner.execute("select attname from pg_attribute where attrelid = 'event_claims'::regclass and attnum > 0")
    site = {"site_id": "shop"} if ("site_id",) in claims.fetchall() else {}
    for number, days in enumerate((1, 89, 91)):
        insert(owner, "event_claims", event_id=UUID(int=number), created_at=ago(days=days), **site)
    add_visitor(owner, "young", months_after(now(), -24))
    add_visitor(owner, "old", months_after(now(), -26))
    add_visitor(owner, "returned", months_after(now(), -26), updated=ago(days=1))

    expected = {
        "public.rejected_events": 2,
        "ops.refused_origins": 2,
        "ops.daily_salts": 0,
        "public.event_claims": 1,
        "public.users": 1,
        "public.sessions": 1,
        "ops.shared_sessions": 1,
    }
    assert deleted(retention.dry_run(database_url, settings)) == expected
    assert names(owner, "users") == ["old", "returned", "young"]
    assert deleted(retention.run(database_url, settings)) == expected
    assert names(owner, "users") == names(owner, "sessions") == ["returned", "young"]
    assert count(owner, "ops.shared_sessions") == 2
    assert owner.execute("select extract(day from now() - received_at) from rejected_events").fetchall() == [(89,)]
    assert owner.execute("select extract(day from now() - created_at) from event_claims order by 1").fetchall() == [
        (1,),
        (89,),
    ]
    assert sum(deleted(retention.run(database_url, settings)).values()) == 0


def test_visitors_with_events_in_postgres_are_kept(
    owner: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    """Shorter settings do not matter: counters must stay correct, and erasing finds live events through sessions."""
    impatient = settings.model_copy(update={"users_keep_months": 1, "sessions_keep_months": 1})
    month = months_after(now(), -30).date().replace(day=1)
    seen = datetime(month.year, month.month, 20, tzinfo=now().tzinfo)
    ensure_months(owner, [month])
    row, later = {"user_id": "anna", "session_id": SESSION}, seen + timedelta(minutes=1)
    land(owner, [event(at=seen, **row), event(at=later, user_id="boris", session_id=SESSION)], IMPORT)
    add_visitor(owner, "before", seen - timedelta(days=35))
    for table in ("users", "sessions"):
        # backdate the import
        owner.execute(f"alter table {table} disable trigger {table}_updated_at".encode())
        owner.execute(f"update {table} set updated_at = %s where user_id <> 'before'".encode(), [seen])
        owner.execute(f"alter table {table} enable trigger {table}_updated_at".encode())

    retention.run(database_url, impatient)
    assert (names(owner, "users"), names(owner, "sessions")) == (["anna", "boris"], ["anna"])
    moves.move(owner, month, "archive")
    retention.run(database_url, impatient)
    assert (names(owner, "users"), names(owner, "sessions")) == (["anna", "boris"], ["anna"])
    assert count(owner, "ops.shared_sessions") == 1

    owner.execute("set timezone = 'UTC'")
    before = owner.execute("table sessions").fetchall(), owner.execute("table users").fetchall()
    cold.freeze(owner, month, settings.cold_storage)
    retention.run(database_url, impatient)
    assert names(owner, "users") == names(owner, "sessions") == names(owner, "ops.shared_sessions") == []

    # restoring a month restores its visitors and sessions, so that they can be erased
    runs.restore(database_url, month)
    after = owner.execute("table sessions").fetchall(), owner.execute("table users").fetchall()
    assert [[row[:-1] for row in table] for table in after] == [[row[:-1] for row in table] for table in before]
    done = erase(database_url, settings, "shop", "boris")
    assert (done.left, done.removed["public.events"], names(owner, "events")) == (0, 1, ["anna"])


def test_restoring_a_month_does_not_change_existing_counters(
    owner: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    month = months_after(now(), -30).date().replace(day=1)
    seen = datetime(month.year, month.month, 20, tzinfo=now().tzinfo)
    ensure_months(owner, [month])
    row = {"user_id": "anna", "session_id": SESSION}
    land(owner, [event(at=seen, **row), event(at=ago(hours=1), **row)], IMPORT)
    before = owner.execute("table sessions").fetchall(), owner.execute("table users").fetchall()
    moves.move(owner, month, "archive")
    owner.execute("set timezone = 'UTC'")
    cold.freeze(owner, month, settings.cold_storage)
    runs.restore(database_url, month)
    assert (owner.execute("table sessions").fetchall(), owner.execute("table users").fetchall()) == before


def test_cold_events_without_a_visitor_id_are_erased_after_their_session_expired(
    owner: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    month = months_after(now(), -30).date().replace(day=1)
    seen = datetime(month.year, month.month, 20, tzinfo=now().tzinfo)
    ensure_months(owner, [month])
    land(
        owner,
        [
            event(at=seen, user_id=None, session_id=SESSION),
            event(at=seen + timedelta(minutes=1), user_id="anna", session_id=SESSION),
            event(at=seen + timedelta(minutes=2), user_id="boris", session_id=SESSION),
            event(at=seen, user_id="boris", session_id=ANOTHER),
            event(at=seen + timedelta(minutes=3), user_id="anna", session_id=ANOTHER),
            event(at=seen + timedelta(minutes=4), user_id=None, session_id=ANOTHER, page_title="of boris"),
        ],
        IMPORT,
    )
    moves.move(owner, month, "archive")
    owner.execute("set timezone = 'UTC'")
    cold.freeze(owner, month, settings.cold_storage)
    owner.execute("truncate users, sessions, ops.shared_sessions")
    done = erase(database_url, settings, "shop", "anna")
    assert (done.left, done.removed["cold files"]) == (0, 3)
    (file,) = cold.list_files(owner)
    left = [(row["user_id"], row["page_title"]) for batch in cold.read(file) for row in batch.to_pylist()]
    assert left == [("boris", None), ("boris", None), (None, "of boris")]


def test_a_visitor_who_returns_during_deletion_keeps_the_counters(
    owner: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    """Deletion skips rows that landing has locked, so there is no deadlock and active visitors are kept."""
    for number in range(200):
        add_visitor(owner, f"visitor-{number:03}", months_after(now(), -26))
    with connect(database_url) as landing:
        flush = landing.transaction()
        flush.__enter__()
        land(landing, [event(user_id="visitor-150"), event(user_id="visitor-007")])
        assert deleted(retention.run(database_url, settings))["public.users"] == 198
        flush.__exit__(None, None, None)
    assert deleted(retention.run(database_url, settings))["public.users"] == 0
    assert owner.execute("select user_id, event_count from users order by 1").fetchall() == [
        ("visitor-007", 1),
        ("visitor-150", 1),
    ]
    assert owner.execute("select min(first_seen_at) < now() - interval '2 years' from users").fetchone() == (True,)


def test_concurrent_landing_and_deleting_do_not_deadlock(
    owner: psycopg.Connection, database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGES_A_BATCH", 1)
    visitors = [f"visitor-{number:04}" for number in range(1000)]
    for name in visitors:
        add_visitor(owner, name, months_after(now(), -26))
    ended = threading.Event()
    landed = 0

    def keep_landing() -> None:
        nonlocal landed
        with connect(database_url) as landing:
            while not ended.is_set():
                landed += len(land(landing, [event(user_id=name) for name in visitors[::-7]]))

    writer = threading.Thread(target=keep_landing)
    writer.start()
    for _ in range(3):
        retention.run(database_url, settings)
    ended.set()
    writer.join()
    assert landed > 0
    assert count(owner, "events") == landed
    row = owner.execute("select sum(event_count), count(*) from users").fetchone()
    assert row == (landed, len(visitors[::-7]))


def test_an_interrupted_deletion_can_be_continued(
    owner: psycopg.Connection, database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGES_A_BATCH", 2)
    for number in range(1000):
        add_visitor(owner, f"visitor-{number:04}", months_after(now(), -26))
    progress: list[tuple[float, float | None]] = []

    def stop(done: float, total: float | None) -> None:
        progress.append((done, total))
        if len(progress) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.run(database_url, settings, stop)
    assert 0 < count(owner, "users") < 1000
    progress.clear()
    retention.run(database_url, settings, lambda *step: progress.append(step))
    assert count(owner, "users") == count(owner, "sessions") == count(owner, "ops.shared_sessions") == 0
    assert progress == sorted(progress)
    assert progress[-1][0] == progress[-1][1]


def test_the_command_and_the_scheduled_asset_delete_expired_rows(
    owner: psycopg.Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.execute("drop table ops.refused_origins")
    for name, value in (("DATABASE_URL", database_url), ("DATA_DIR", str(tmp_path)), ("USERS_KEEP_MONTHS", "30")):
        monkeypatch.setenv(name, value)
    add_visitor(owner, "old", months_after(now(), -26))

    def tilda(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["retention", "run", *arguments], standalone_mode=False).output

    assert "public.sessions: 1 rows older than 20" in tilda("--dry-run")
    assert {one["table"]: one["rows"] for one in json.loads(tilda("--json"))} == {
        "public.rejected_events": 0,
        "ops.daily_salts": 0,
        "public.event_claims": 0,
        "public.users": 0,
        "public.sessions": 1,
        "ops.shared_sessions": 1,
    }
    monkeypatch.setenv("USERS_KEEP_MONTHS", "25")
    result = dg.materialize([expired_rows], resources={"warehouse": Warehouse(database_url=database_url)})
    (done,) = result.asset_materializations_for_node("ops__expired_rows")
    assert done.metadata["rows"].value == 1
    monkeypatch.setenv("CLAIMS_KEEP_DAYS", "69")
    with pytest.raises(UserError, match="CLAIMS_KEEP_DAYS"):
        load_settings()
