"""The trigger on public.events keeps users and sessions, independent of the order and batches of events."""

from __future__ import annotations

import random
import threading
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tests.postgres.landed import SITE, ago, at_once, count, counters, event
from warehouse.archive import cold
from warehouse.events.landing import land
from warehouse.events.schema import Row
from warehouse.kit.database import connect
from warehouse.kit.queries import read_query
from warehouse.privacy.person import SQL_DIR


def some_events() -> list[Row]:
    """Return 400 varied events of few visitors and sessions. The IDs are the same at each call."""
    chance = random.Random(5)
    base = ago(hours=5)
    types = ["page_view", "page_view", "add_to_cart", "page_leave", "web_vitals"]
    rows: list[Row] = []
    for number in range(400):
        session = chance.randrange(40)
        rows.append(
            event(
                UUID(int=number),
                base + timedelta(seconds=number),  # distinct times, so that one event is the earliest
                event_type=(event_type := chance.choice(types)),
                session_id=UUID(int=1000 + session) if session else None,
                user_id=f"user-{session % 7}" if session % 5 else None,
                page_url=f"https://a.example/{number}",
                referrer=chance.choice([None, f"https://b.example/{number}"]),
                utm_source=chance.choice([None, f"s{number}"]),
                utm_campaign=chance.choice([None, f"c{number}"]),
                device_type="mobile",
                browser=chance.choice(["Chrome", None]),
                is_bot=session == 3,
                payload={"timing": {"timeOnPage": 1}} if event_type == "page_leave" else None,
            )
        )
    return rows


def shared_sessions(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "select site_id, user_id, session_id from ops.shared_sessions order by 1, 2, 3"
    ).fetchall()


def test_counters_do_not_depend_on_order_or_batches(database_url: str) -> None:
    rows = some_events()
    with connect(database_url) as connection:
        seen: list[object] = []
        for seed, size in ((0, 400), (1, 1), (2, 7), (3, 90)):
            connection.execute("truncate public.events, public.users, public.sessions")
            shuffled = random.Random(seed).sample(rows, len(rows))
            for start in range(0, len(rows), size):
                land(connection, shuffled[start : start + size])
            land(connection, shuffled[:50])  # resends are not counted
            seen.append(counters(connection))
        assert all(result == seen[0] for result in seen[1:])

        users, sessions = counters(connection)
        by_user = connection.execute(
            """
            select site_id, user_id, min(created_at), max(created_at), count(*) from public.events
            where user_id is not null group by 1, 2 order by 1, 2
            """
        ).fetchall()
        assert users == by_user
        first = connection.execute(
            """
            select distinct on (site_id, session_id)
                site_id, session_id, user_id, min(created_at) over w,
                max(created_at) filter (where event_type in ('page_view', 'add_to_cart')) over w, count(*) over w,
                page_url, referrer, utm_source, utm_medium, utm_campaign, utm_term, utm_content, device_type, browser,
                os, is_bot
            from public.events where session_id is not null
            window w as (partition by site_id, session_id) order by site_id, session_id, created_at
            """
        ).fetchall()
        assert sessions == first


def test_events_with_equal_times_give_the_same_session_in_any_order(database_url: str) -> None:
    base = ago(hours=1)
    rows = [
        event(
            UUID(int=number), base, session_id=UUID(int=9), page_url=f"https://a.example/{number}", user_id=f"u{number}"
        )
        for number in range(6)
    ]
    seen: set[tuple[object, ...]] = set()
    with connect(database_url) as connection:
        for seed in range(8):
            connection.execute("truncate public.events, public.users, public.sessions")
            land(connection, random.Random(seed).sample(rows, len(rows)))
            seen.update(connection.execute("select landing_page, user_id from sessions").fetchall())
    assert seen == {("https://a.example/0", "u0")}


def test_a_restore_and_an_erasure_compute_the_rows_that_landing_wrote(database_url: str) -> None:
    """The sessions of a restored month, and sessions that keep another visitor's events, equal those of landing."""
    with connect(database_url) as connection:
        land(connection, [*some_events(), event(at=ago(hours=1), session_id=UUID(int=1001), user_id="another visitor")])
        before = counters(connection), shared_sessions(connection)
        assert before[1]

        connection.execute("truncate public.users, public.sessions, ops.shared_sessions")
        with connection.transaction():
            collect = read_query(cold.SQL_DIR, "collect_missing_counters")
            connection.execute(sql.SQL(collect).format(month=sql.Identifier("public", "events")))
            connection.execute(read_query(cold.SQL_DIR, "insert_missing_counters"))
        assert (counters(connection), shared_sessions(connection)) == before

        connection.execute(
            """
            update public.sessions set user_id = null, started_at = now(), last_seen_at = now(), event_count = 7,
                landing_page = 'x', referrer = 'x', utm_campaign = 'x', browser = 'x', is_bot = true
            """
        )
        sessions = [str(UUID(int=1000 + number)) for number in range(1, 40)]
        connection.execute(read_query(SQL_DIR, "describe_sessions"), {"site": SITE, "sessions": sessions})
        assert (counters(connection), shared_sessions(connection)) == before


def test_page_leave_events_do_not_extend_a_session(database_url: str) -> None:
    session_id, base = UUID(int=1), ago(hours=1)
    leave = {"event_type": "page_leave", "payload": {"timing": {"timeOnPage": 60}}, "session_id": session_id}
    with connect(database_url) as connection:
        land(connection, [event(at=base + timedelta(minutes=9), **leave)])
        assert connection.execute("select last_seen_at from sessions").fetchall() == [(None,)]
        land(connection, [event(at=base, session_id=session_id)])
        land(connection, [event(at=base + timedelta(minutes=20), **leave)])
        assert connection.execute("select started_at, last_seen_at, event_count from sessions").fetchall() == [
            (base, base, 3)
        ]


def test_values_set_by_a_client_are_completed_not_replaced(database_url: str) -> None:
    session_id = UUID(int=1)
    with connect(database_url) as connection:
        connection.execute(
            "insert into sessions (site_id, session_id, landing_page) values ('shop', %s, 'https://a.example/said')",
            [session_id],
        )
        land(
            connection, [event(at=ago(hours=1), session_id=session_id, page_url="https://a.example/", browser="Chrome")]
        )
        assert connection.execute("select landing_page, browser, event_count from sessions").fetchall() == [
            ("https://a.example/said", "Chrome", 1)
        ]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("in_step", "timed"),
    [(False, True), (True, True), (True, False)],
    ids=["same sessions", "same events", "same claims"],
)
def test_writers_do_not_deadlock(database_url: str, *, in_step: bool, timed: bool) -> None:
    """Four writers send the same flushes with shuffled events, in step or each in its own order."""
    base, chance = ago(hours=1), random.Random(1)
    flushes = [
        [
            event(
                UUID(int=flush * 1000 + number),
                base + timedelta(seconds=chance.randrange(600)) if timed else None,
                session_id=UUID(int=chance.randrange(12)),
                user_id=f"u{chance.randrange(5)}",
            )
            for number in range(100)
        ]
        for flush in range(40)
    ]
    step = threading.Barrier(4)

    def write(seed: int) -> int:
        own, new = random.Random(seed), 0
        with connect(database_url, application=f"writer {seed}") as connection:
            for flush in flushes if in_step else own.sample(flushes, len(flushes)):
                if in_step:
                    step.wait(60)
                new += len(land(connection, own.sample(flush, len(flush))))
        return new

    assert sum(at_once(*[lambda seed=seed: write(seed) for seed in range(4)])) == 40 * 100
    with connect(database_url) as connection:
        assert count(connection, "events") == 40 * 100
        assert connection.execute("select sum(event_count) from sessions").fetchone() == (40 * 100,)
        assert connection.execute("select sum(event_count) from users").fetchone() == (40 * 100,)
        deadlocks = connection.execute("select deadlocks from pg_stat_database where datname = current_database()")
        assert deadlocks.fetchone() == (0,)
