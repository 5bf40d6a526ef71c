"""A person is exported and erased from every table, month, file and spool by any of their visitor IDs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.postgres.landed import ago, at_once, count, event, landed_ids
from warehouse.archive import cold, moves
from warehouse.events.landing import IMPORT, land
from warehouse.events.schema import Row
from warehouse.events.spool import Spool
from warehouse.kit.database import PRIVACY_LOGIN, connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres, programs
from warehouse.kit.errors import UserError
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.partitions.months import ensure_months
from warehouse.privacy import erase as erasing
from warehouse.privacy.erase import Erasure, erase, resume
from warehouse.privacy.export import export
from warehouse.privacy.person import SQL_DIR, Person, find_person
from warehouse.sites.registry import add_site

MINE, ALSO_MINE, THEIRS = "visitor-of-anna-1", "visitor-of-anna-2", "visitor-of-boris"
EMAIL = "a1b2c3d4e5f60718293a4b5c6d7e8f90" * 2
SESSION, SHARED, THEIR_SESSION, OTHER = (UUID(int=number) for number in (101, 102, 103, 104))
ARCHIVED, COLD = date(2015, 5, 1), date(2014, 5, 1)

# The dbt models, reduced to the columns that identify a row's visitor.
MODELS = """
create table marts.visitors (site_id text, user_id text, person_id text);
create table marts.sessions (site_id text, session_id uuid, client_session_id uuid, user_id text);
create table marts.attribution (site_id text, conversion_id text, session_id uuid, person_id text);
create table marts.visitor_features (site_id text, user_id text, as_of timestamptz);
create table marts.daily_metrics (site_id text, date date, sessions bigint);
create table intermediate.int_events_sessionised (site_id text, event_id uuid, user_id text, email_sha256 text);
insert into marts.visitors values
    ('shop', 'visitor-of-anna-1', 'anna'), ('shop', 'visitor-of-anna-2', 'anna'), ('shop', 'visitor-of-boris', 'boris'),
    ('other', 'visitor-of-anna-1', 'anna');
insert into marts.sessions
select 'shop', md5('session ' || n)::uuid, lpad(client, 32, '0')::uuid, user_id
from (values
    (1, '65', 'visitor-of-anna-1'), (2, '65', 'visitor-of-anna-1'), (3, '67', 'visitor-of-boris')
) as s (n, client, user_id);
insert into marts.attribution values
    ('shop', 'c1', md5('session 2')::uuid, 'anna'), ('shop', 'c2', md5('session 3')::uuid, 'boris');
insert into marts.visitor_features values ('shop', 'visitor-of-anna-2', now()), ('shop', 'visitor-of-boris', now());
insert into marts.daily_metrics values ('shop', '2026-11-01', 7);
insert into intermediate.int_events_sessionised values
    ('shop', gen_random_uuid(), 'visitor-of-anna-2', 'a1b2'), ('shop', gen_random_uuid(), 'visitor-of-boris', null);
insert into ml.propensity_scores (site_id, user_id, as_of, score, decile, band, model_version)
select 'shop', u, now(), 0.5, 1, 'hot', 'v1' from unnest('{visitor-of-anna-1,visitor-of-boris}'::text[]) as u;
"""
# Anna's rows by place.
HELD = {
    "public.events": 7,
    "archive.events": 2,
    "cold files": 2,
    "spool": 1,
    "public.rejected_events": 1,
    "public.sessions": 2,
    "ops.shared_sessions": 1,
    "public.users": 2,
    "marts.visitors": 2,
    "marts.sessions": 2,
    "marts.attribution": 1,
    "marts.visitor_features": 1,
    "intermediate.int_events_sessionised": 1,
    "ml.propensity_scores": 1,
}


def archive_month_with_events(day: date, url: str, settings: Settings) -> None:
    """Archive a month with two events of Anna and one of Boris. The month COLD is also written to a file."""
    at = datetime(day.year, day.month, 3, tzinfo=UTC)
    with connect(url) as connection:
        ensure_months(connection, [day])
        rows = [event(at=at, user_id=MINE, session_id=SESSION), event(at=at, user_id=ALSO_MINE)]
        land(connection, [*rows, event(at=at, user_id=THEIRS, session_id=THEIR_SESSION)], IMPORT)
        moves.move(connection, day, "archive")
        if day == COLD:
            connection.execute("set timezone = 'UTC'")
            cold.freeze(connection, day, settings.cold_storage)


@pytest.fixture(scope="module")
def template(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Settings]:
    """Create a database where Anna has two visitor IDs and rows in every place, and Boris shares sessions with her."""
    settings = settings_in(tmp_path_factory.mktemp("world"))
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute("create database privacy_template template tilda_template")
    url = postgres_server.url("privacy_template")
    add_site(url, "shop", ["shop.example"], "Europe/Moscow")
    add_site(url, "other", ["other.example"], "UTC")
    for month in (COLD, ARCHIVED):
        archive_month_with_events(month, url, settings)
    identity = {"identity": {"email_sha256": EMAIL}}
    with connect(url) as connection:
        land(connection, [event(at=ago(hours=3), user_id=THEIRS, session_id=SHARED)])
        land(
            connection,
            [
                event(at=ago(hours=2), user_id=MINE, session_id=SESSION),
                event(at=ago(hours=2), user_id=None, session_id=SESSION),
                event(at=ago(hours=1), user_id=MINE, session_id=None),
                event(at=ago(hours=1), user_id=ALSO_MINE, session_id=OTHER, event_type="identify", payload=identity),
                event(at=ago(hours=1), user_id=MINE, session_id=SHARED),  # Boris began this session
                event(at=ago(hours=1), user_id=THEIRS, session_id=SESSION),  # Anna began this session
                event(user_id=None, event_type="form_submit", source="webhook", payload=identity | {"form": {}}),
                event(at=ago(days=40), user_id=ALSO_MINE, session_id=OTHER),  # too old, so it needs a claim
                event(at=ago(hours=1), user_id=THEIRS, session_id=THEIR_SESSION),
                event(at=ago(hours=1), user_id=MINE, session_id=UUID(int=105), site_id="other"),
                refusal(MINE),
                refusal(THEIRS),
            ],
        )
        connection.execute(MODELS.encode())
    spool = Spool(settings.spool_folder, settings.spool_max_bytes)
    spool.append([event(at=ago(minutes=1), user_id=MINE), event(at=ago(minutes=1), user_id=THEIRS)])
    spool.close()
    return "privacy_template", settings


@pytest.fixture
def settings(template: tuple[str, Settings], tmp_path: Path) -> Settings:
    shutil.copytree(template[1].data_dir, tmp_path / "data")
    return settings_in(tmp_path / "data")


@pytest.fixture
def database_url(
    postgres_server: EmbeddedPostgres, template: tuple[str, Settings], settings: Settings
) -> Iterator[str]:
    """Yield the URL of a copy of the template database."""
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute("drop database if exists privacy_world with (force)")
        admin.execute("create database privacy_world template privacy_template")
        url = postgres_server.url("privacy_world")
        with connect(url) as connection:
            connection.execute(
                "update archive.cold_files set url = replace(url, %s, %s)",
                [template[1].cold_storage, settings.cold_storage],
            )
        yield url
        admin.execute("drop database privacy_world with (force)")


@pytest.fixture
def world(database_url: str) -> psycopg.Connection:
    return connect(database_url)


def settings_in(folder: Path) -> Settings:
    return Settings(_env_file=None, data_dir=folder)  # pyright: ignore[reportCallIssue]


def refusal(user_id: str) -> Row:
    body = json.dumps({"user_id": user_id, "event_type": ""})
    return Row(site_id="shop", source="api", reject_code="invalid_event", reject_body=body)


def dump_database_and_files(url: str, settings: Settings) -> str:
    """Return the database and all files as text, to find rows of a person that our queries miss."""
    dump = subprocess.run(
        [programs(18) / "pg_dump", "--data-only", "--inserts", f"--dbname={url}"], check=True, capture_output=True
    )
    with connect(url) as connection:
        cold_rows = [batch.to_pylist() for file in cold.list_files(connection) for batch in cold.read(file)]
    files = b"".join(path.read_bytes() for path in settings.data_dir.rglob("*") if path.is_file())
    return dump.stdout.decode() + repr(cold_rows) + files.decode(errors="replace")


def delete_rows_of_other_site(world: psycopg.Connection) -> None:
    """Delete the rows of another site's visitor with the same ID."""
    for table in ("public.events", "public.users", "public.sessions", "marts.visitors"):
        assert world.execute(f"delete from {table} where site_id = 'other'").rowcount == 1


def removed_rows(done: Erasure) -> dict[str, int]:
    return {place: number for place, number in done.removed.items() if number and place != "public.event_claims"}


def test_a_person_is_erased_everywhere_and_nobody_else(
    world: psycopg.Connection, database_url: str, settings: Settings, secrets: Secrets
) -> None:
    """Use the login of the privacy endpoints, which has only the privileges for them."""
    url = replace_in_url(database_url, user=PRIVACY_LOGIN, password=secrets.privacy_password)
    old_files = set((settings.data_dir / "cold").iterdir())
    assert removed_rows(erase(url, settings, "shop", MINE, dry_run=True)) == HELD
    assert EMAIL in dump_database_and_files(database_url, settings)

    done = erase(url, settings, "shop", ALSO_MINE)
    assert (done.left, removed_rows(done), done.visitor_ids) == (0, HELD, [MINE, ALSO_MINE])
    assert done.removed["public.event_claims"] == 2
    delete_rows_of_other_site(world)
    text = dump_database_and_files(database_url, settings)
    assert [word for word in (MINE, ALSO_MINE, EMAIL, str(OTHER)) if word in text] == []
    assert not old_files & set((settings.data_dir / "cold").iterdir())

    # Boris lost nothing; the session that Anna began belongs to him now
    assert count(world, f"archive.all_events where user_id = '{THEIRS}'") == 4
    (file,) = cold.list_files(world)
    assert [row["user_id"] for batch in cold.read(file) for row in batch.to_pylist()] == [THEIRS]
    sessions = world.execute("select session_id, user_id, event_count from sessions order by 1").fetchall()
    assert sessions == [(SESSION, THEIRS, 1), (SHARED, THEIRS, 1), (THEIR_SESSION, THEIRS, 3)]
    assert count(world, "marts.visitors") == count(world, "marts.sessions") == count(world, "marts.attribution") == 1
    assert count(world, "rejected_events") == count(world, "ml.propensity_scores") == 1

    # the models rebuild the days of her events, in the site's time zone
    days = {day for (day,) in world.execute("select event_date from ops.rebuild_days where site_id = 'shop'")}
    assert {date(2014, 5, 3), date(2015, 5, 3), (ago(hours=2) + timedelta(hours=3)).date()} <= days

    # the record of the erasure names nobody, and a second erasure finds nothing
    account = world.execute("select site_id, removed, person, finished_at is not null from ops.erasures").fetchone()
    assert account == ("shop", done.removed, None, True)
    assert sum(erase(url, settings, "shop", ALSO_MINE).removed.values()) == 0


def test_late_events_of_an_erased_person_are_dropped(
    world: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    erase(database_url, settings, "shop", MINE)
    before = count(world, "users"), count(world, "sessions"), count(world, "rejected_events")
    theirs = event(user_id=THEIRS)
    late = [event(user_id=MINE), event(user_id=ALSO_MINE, session_id=uuid4()), refusal(MINE)]
    assert landed_ids(land(world, [*late, theirs])) == {theirs.event_id}
    assert not land(world, [event(at=datetime(2026, 1, 1, tzinfo=UTC), user_id=MINE)], IMPORT)
    profiles = [("users", {"user_id": MINE}), ("sessions", {"user_id": ALSO_MINE, "session_id": str(uuid4())})]
    for kind, profile in profiles:
        world.execute("select land_profiles(%s, 'shop', %s)", [kind, json.dumps([profile])])
    assert (count(world, "users"), count(world, "sessions"), count(world, "rejected_events")) == before
    assert len(land(world, [event(user_id="visitor-of-anna-3")])) == 1  # after a new consent, the visitor has a new ID
    assert len(land(world, [event(site_id="other", user_id=MINE)])) == 1  # another person on that site

    with connect(database_url) as direct:
        direct.execute("set role anon")
        for table in ("events (site_id, user_id, event_type)", "sessions (site_id, user_id, session_id)"):
            values = f"('shop', '{MINE}', '{uuid4()}')"
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                direct.execute(f"insert into {table} values {values}")
            direct.execute(f"insert into {table} values {values.replace(MINE, 'somebody')}")

    # scores computed from features that were read before the erasure
    world.execute(
        "insert into ml.propensity_scores (site_id, user_id, as_of, score, decile, band, model_version)"
        " select 'shop', u, '2026-01-01', 0.5, 1, 'hot', 'v1' from unnest(%s::text[]) as u",
        [[MINE, THEIRS]],
    )
    assert count(world, f"ml.propensity_scores where user_id = '{MINE}'") == 0
    assert count(world, f"ml.propensity_scores where user_id = '{THEIRS}'") == 2


def test_an_erasure_waits_for_uncommitted_events(
    world: psycopg.Connection, database_url: str, settings: Settings
) -> None:
    """A flush that began before the erasure and commits during the erasure is erased too."""
    with connect(database_url) as writer:
        flush = writer.transaction()
        flush.__enter__()
        writer.execute(
            "insert into public.events (site_id, user_id, event_type) values ('shop', %s, 'page_view')", [MINE]
        )

        def commit() -> None:
            while count(world, "ops.erased_visitors") == 0:
                pass
            flush.__exit__(None, None, None)

        done, _ = at_once(lambda: erase(database_url, settings, "shop", MINE), commit)  # type: ignore[arg-type]
    assert done.removed["public.events"] == HELD["public.events"] + 1
    assert count(world, f"events where site_id = 'shop' and user_id = '{MINE}'") == 0


def test_an_erasure_interrupted_after_each_place_can_be_completed(
    world: psycopg.Connection, database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure deletes the rows that link the visitor IDs, and must not need them after an interruption."""
    steps = iter(range(1000))
    note, stop_at = erasing._note, 0

    def stop(connection: psycopg.Connection, erasure_id: UUID, removed: dict[str, int]) -> None:
        if next(steps) == stop_at:
            raise KeyboardInterrupt
        note(connection, erasure_id, removed)

    monkeypatch.setattr(erasing, "_note", stop)
    for place in range(len(HELD)):
        steps, stop_at = iter(range(1000)), place
        with pytest.raises(KeyboardInterrupt):
            erase(database_url, settings, "shop", MINE if place % 2 else ALSO_MINE)
        assert world.execute("select person is not null from ops.erasures").fetchall() == [(True,)]
    monkeypatch.setattr(erasing, "_note", note)
    (done,) = resume(database_url, settings)
    assert done.left == 0
    # rows removed from a file or the spool just before an interruption are not counted
    noted = HELD.keys() - {"cold files", "spool"}
    assert {place: done.removed.get(place) for place in noted} == {place: HELD[place] for place in noted}
    assert world.execute("select person from ops.erasures").fetchall() == [(None,)]
    delete_rows_of_other_site(world)
    assert MINE not in dump_database_and_files(database_url, settings)


def test_the_export_contains_every_row_of_the_person(
    database_url: str, settings: Settings, world: psycopg.Connection
) -> None:
    document = json.loads(json.dumps(export(database_url, settings, "shop", MINE)))
    assert document["visitor_ids"] == [MINE, ALSO_MINE]
    assert {held["place"]: held["count"] for held in document["held"]} == HELD
    assert {held["place"]: len(held["rows"]) for held in document["held"]} == HELD
    rows: dict[str, list[dict[str, Any]]] = {held["place"]: held["rows"] for held in document["held"]}
    assert rows["cold files"][0]["created_at"].startswith("2014-05-03")
    assert {row["session_id"] for row in rows["cold files"]} == {str(SESSION), None}
    assert THEIRS not in json.dumps(document)
    assert all(held["what"] for held in document["held"])


def test_searching_live_months_uses_indexes(world: psycopg.Connection) -> None:
    """Every branch of the query uses an index, so erasing stays fast with many events."""
    person = find_person(world, Person("shop", frozenset({MINE, f"anonymous:{uuid4()}"})))
    with world.transaction():
        world.execute("set local enable_seqscan = off")
        plan = world.execute(b"explain " + (SQL_DIR / "live_events.sql").read_bytes(), person.values).fetchall()
    assert not [line for (line,) in plan if "Seq Scan on events" in line]


def test_an_unknown_site_is_rejected(database_url: str, settings: Settings) -> None:
    with pytest.raises(UserError, match="no site 'shpo'"):
        erase(database_url, settings, "shpo", MINE)
