"""`land` stores an event exactly once, whenever and by whichever connection it is resent."""

from __future__ import annotations

import random
import threading
from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.postgres.landed import SITE, ago, at_once, count, event, landed_ids, now, stored
from warehouse.events.landing import LAND, land, take_if_new
from warehouse.events.schema import Row
from warehouse.kit.database import connect


@pytest.fixture
def connection(database_url: str) -> psycopg.Connection:
    return connect(database_url)


def test_the_client_time_is_kept_and_a_resend_is_a_duplicate(connection: psycopg.Connection) -> None:
    at, event_id = ago(days=3), uuid4()
    assert landed_ids(land(connection, [event(event_id, at)])) == {event_id}
    assert not land(connection, [event(event_id, at)])
    ((_, created_at, client_created_at, received_at),) = stored(connection)
    assert created_at == client_created_at == at
    assert ago(seconds=20) < received_at <= now()
    assert count(connection, "event_claims") == 0


def test_copies_in_one_flush_are_stored_once(connection: psycopg.Connection) -> None:
    timed, untimed, mixed = uuid4(), uuid4(), uuid4()
    at = ago(minutes=1)
    flush = [event(timed, at), event(untimed), event(untimed), event(timed, at), event(mixed, at), event(mixed)]
    assert landed_ids(land(connection, flush)) == {timed, untimed, mixed}
    assert not land(connection, flush[::-1])
    assert count(connection, "events") == 3


@pytest.mark.parametrize(
    "shift", [None, timedelta(days=-36), timedelta(days=-4000), timedelta(hours=26), timedelta(days=3000)]
)
def test_without_a_usable_client_time_the_first_arrival_time_is_kept(
    connection: psycopg.Connection, shift: timedelta | None
) -> None:
    event_id, at = uuid4(), None if shift is None else now() + shift
    first = ago(hours=2)
    assert landed_ids(land(connection, [event(event_id, at, arrived_at=first)])) == {event_id}
    for arrived_at in (None, ago(hours=1), ago(days=20)):
        assert not land(connection, [event(event_id, at, arrived_at=arrived_at)])
    assert stored(connection) == [(event_id, first, at, first)]


def test_another_created_at_makes_another_row(connection: psycopg.Connection) -> None:
    """The key is the pair of event_id and created_at; the dbt models count only one of the rows."""
    event_id, first, second = uuid4(), ago(days=2), ago(days=1)
    assert land(connection, [event(event_id, first), event(event_id, second)]) == Counter({(SITE, event_id): 2})
    assert not land(connection, [event(event_id, second), event(event_id, first)])
    assert [row[1] for row in stored(connection)] == [first, second]
    # without a client time, the event ID alone identifies an event
    untimed = uuid4()
    assert land(connection, [event(untimed)])
    assert not land(connection, [event(untimed, ago(days=400)), event(untimed)])
    assert count(connection, "events") == 3


@pytest.mark.parametrize(
    ("at", "claims"), [(None, 2), (timedelta(minutes=-5), 0), (timedelta(days=-34.9), 2), (timedelta(days=-400), 2)]
)
def test_event_ids_of_one_site_do_not_block_another_site(
    connection: psycopg.Connection, at: timedelta | None, claims: int
) -> None:
    """Times within the bounds need no claim; times near or beyond the bounds, or absent, need one."""
    event_id, time = uuid4(), None if at is None else now() + at
    assert land(connection, [event(event_id, time, site_id="attacker")])
    assert land(connection, [event(event_id, time)]) == Counter({(SITE, event_id): 1})
    assert not land(connection, [event(event_id, time), event(event_id, time, site_id="attacker")])
    sites = connection.execute("select site_id from events order by site_id").fetchall()
    assert sites == [("attacker",), (SITE,)]
    assert count(connection, "event_claims") == claims


def test_one_flush_keeps_the_same_event_id_of_two_sites_apart(connection: psycopg.Connection) -> None:
    event_id, at = uuid4(), ago(minutes=1)
    land(connection, [event(event_id, at)])
    flush = [event(event_id, at, site_id=site) for site in (SITE, "blog", "blog")]
    new = land(connection, flush)
    assert new == Counter({("blog", event_id): 1})
    assert [take_if_new(row, new) for row in flush] == [False, True, False]


copies = st.lists(
    st.tuples(
        st.sampled_from(["shop", "blog"]),
        st.integers(0, 2),  # the event's number
        # Age in seconds: within the bounds, near a bound (so that a claim is needed), out of bounds, absent.
        st.sampled_from([60.0, 61.0, -7200.0, 34.5 * 86_400, 400 * 86_400.0, None]),
        st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=12,
)


def test_the_first_of_rows_with_the_same_key_is_stored(connection: psycopg.Connection) -> None:
    base = now()

    @given(copies)
    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    def land_copies(drawn: list[tuple[str, int, float | None, int]]) -> None:
        connection.execute("truncate events, event_claims, sessions, users")
        rows = [
            event(
                UUID(int=number),
                None if seconds is None else base - timedelta(seconds=seconds),
                site_id=site,
                arrived_at=base - timedelta(seconds=place),
                session_id=UUID(int=9),
                user_id=f"visitor-{mark}",
                page_title=f"copy {mark}",
            )
            for place, (site, number, seconds, mark) in enumerate(drawn)
        ]
        land(connection, rows)
        # Oracle: if a copy of an event needs a claim, all copies get the time of the first such copy.
        claims: dict[tuple[str, UUID | None], datetime] = {}
        for row in rows:
            assert row.arrived_at is not None
            at = row.client_created_at
            age = None if at is None else row.arrived_at - at
            is_claimed = age is None or not timedelta(hours=-1) <= age <= timedelta(days=28)
            in_bounds = age is not None and timedelta(hours=-25) <= age <= timedelta(days=35)
            if is_claimed:
                claims.setdefault((row.site_id, row.event_id), at if at and in_bounds else row.arrived_at)
        expected: dict[tuple[str, UUID | None, datetime | None], tuple[str | None, str | None]] = {}
        for row in rows:
            created_at = claims.get((row.site_id, row.event_id), row.client_created_at)
            expected.setdefault((row.site_id, row.event_id, created_at), (row.user_id, row.page_title))
        found = connection.execute("select site_id, event_id, created_at, user_id, page_title from events").fetchall()
        assert {row[:3]: row[3:] for row in found} == expected
        assert len(found) == len(expected)

    land_copies()


def test_a_resend_after_30_days_is_a_duplicate(connection: psycopg.Connection) -> None:
    event_id, at = uuid4(), ago(days=50)
    assert landed_ids(land(connection, [event(event_id, at, arrived_at=ago(days=30))])) == {event_id}
    assert not land(connection, [event(event_id, at)])
    assert [row[1] for row in stored(connection)] == [at]


def test_a_resend_is_a_duplicate_when_its_time_is_no_longer_ahead(connection: psycopg.Connection) -> None:
    event_id, at, first = uuid4(), now() + timedelta(hours=20), ago(hours=10)
    assert landed_ids(land(connection, [event(event_id, at, arrived_at=first)])) == {event_id}
    assert not land(connection, [event(event_id, at)])
    assert [row[1] for row in stored(connection)] == [first]


def test_arrival_times_are_limited_to_the_last_35_days(connection: psycopg.Connection) -> None:
    land(connection, [event(arrived_at=now() + timedelta(days=400)), event(arrived_at=ago(days=400))])
    (old, new) = [row[1] for row in stored(connection)]
    assert ago(days=36) < old < ago(days=34)
    assert ago(minutes=1) < new <= now()


def test_draining_the_default_partition_counts_no_event_twice(connection: psycopg.Connection) -> None:
    """An event of a month without a partition lands in the default partition, moves to its month and is resent."""
    last_month = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(microseconds=1)
    event_id, session_id = uuid4(), uuid4()
    rows = [
        event(event_id, last_month, session_id=session_id, user_id="u"),
        event(at=last_month + timedelta(microseconds=1), session_id=session_id, user_id="u"),
    ]
    arrived_at = min(now(), last_month + timedelta(days=30))
    for row in rows:
        row.arrived_at = arrived_at
    assert len(land(connection, rows)) == 2
    before = connection.execute("select event_id, loaded_at, received_at, id from events order by id").fetchall()
    assert count(connection, "events_default") == 1

    made = [row[0] for row in connection.execute("select ops.ensure_partitions()")]
    assert made == [last_month.date().replace(day=1)]
    assert count(connection, "events_default") == 0
    assert count(connection, f"events_{last_month:%Y_%m}") == 1
    assert (
        connection.execute("select event_id, loaded_at, received_at, id from events order by id").fetchall() == before
    )
    assert not land(connection, rows)
    assert connection.execute("select event_count from sessions").fetchall() == [(2,)]
    assert connection.execute("select event_count from users").fetchall() == [(2,)]


def test_concurrent_senders_store_each_event_once(database_url: str, connection: psycopg.Connection) -> None:
    times: list[datetime | None] = [None, ago(minutes=1), ago(days=34.9), ago(days=400), now() + timedelta(hours=24.9)]
    ids = [(uuid4(), random.Random(number).choice(times)) for number in range(300)]

    def send(seed: int) -> list[object]:
        chance = random.Random(seed)
        new: list[object] = []
        with connect(database_url) as own:
            mine = chance.sample(ids, len(ids)) + chance.sample(ids, 50)
            for start in range(0, len(mine), 70):
                new += landed_ids(
                    land(own, [event(event_id, at, session_id=uuid4()) for event_id, at in mine[start : start + 70]])
                )
        return new

    new = [event_id for result in at_once(*[lambda seed=seed: send(seed) for seed in range(6)]) for event_id in result]
    assert sorted(map(str, new)) == sorted(str(event_id) for event_id, _ in ids)
    assert count(connection, "events") == count(connection, "sessions") == len(ids)


@pytest.mark.parametrize(
    ("at", "first_arrival", "second_arrival"),
    [
        (timedelta(days=-35, hours=-1), timedelta(hours=-2), timedelta()),  # within the bounds, then too old
        (timedelta(days=-35, hours=-1), timedelta(), timedelta(hours=-2)),
        (timedelta(hours=24.5), timedelta(hours=-2), timedelta()),  # too far ahead, then within the bounds
        (timedelta(hours=24.5), timedelta(), timedelta(hours=-2)),
        (timedelta(days=-400), timedelta(hours=-2), timedelta()),
    ],
)
def test_concurrent_copies_on_both_sides_of_a_bound_are_stored_once(
    database_url: str, at: timedelta, first_arrival: timedelta, second_arrival: timedelta
) -> None:
    base, event_id = now(), uuid4()

    def copy(arrival: timedelta) -> str:
        return msgspec.json.encode([event(event_id, base + at, arrived_at=base + arrival)]).decode()

    with connect(database_url, autocommit=False) as first, connect(database_url) as second:
        assert len(first.execute(LAND, [copy(first_arrival)]).fetchall()) == 1
        landed: list[object] = []
        other = threading.Thread(target=lambda: landed.extend(second.execute(LAND, [copy(second_arrival)]).fetchall()))
        other.start()
        with connect(database_url) as observer:
            waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            while observer.execute(waiting).fetchone() is None:
                assert other.is_alive(), "the second copy did not wait for the first"
        first.commit()
        other.join()
        assert landed == []
        assert count(second, "events") == 1


def test_a_flush_stores_all_rows_but_the_invalid_ones(connection: psycopg.Connection) -> None:
    rows = [event() for _ in range(100)]
    bad = {7: "events_event_type_is_named", 8: None, 63: "events_click_has_position"}
    rows[7].event_type = "e" * 65
    rows[8].ip_address = "nonsense"
    rows[63].event_type, rows[63].payload = "click", {"click": {"x": "1", "y": 2}}
    ids = [row.event_id for row in rows]
    assert landed_ids(land(connection, rows)) == {event_id for place, event_id in enumerate(ids) if place not in bad}
    assert [place for place, row in enumerate(rows) if row.reject_code == "refused_by_database"] == list(bad)
    kept = connection.execute(
        "select event_id, code, detail, body::jsonb ->> 'event_type' from rejected_events order by id"
    )
    assert kept.fetchall() == [
        (str(ids[7]), "refused_by_database", "Constraint events_event_type_is_named.", "e" * 65),
        (str(ids[8]), "refused_by_database", "InvalidTextRepresentation.", "page_view"),
        (str(ids[63]), "refused_by_database", "Constraint events_click_has_position.", "click"),
    ]


def test_rejected_events_are_stored_with_their_flush(connection: psycopg.Connection) -> None:
    refusal = Row(
        "shop", "api", reject_code="invalid_event", reject_detail="No id.", reject_body="{}", arrived_at=ago(days=1)
    )
    assert len(land(connection, [event(), refusal, refusal])) == 1
    kept = connection.execute("select site_id, source, code, detail, body, received_at from rejected_events").fetchall()
    assert kept == [("shop", "api", "invalid_event", "No id.", "{}", refusal.arrived_at)] * 2
    assert not land(connection, [])
