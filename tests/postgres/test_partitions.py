from __future__ import annotations

from datetime import UTC, date, datetime

import psycopg
import pytest

from tests.postgres.landed import event, now
from warehouse.events.landing import IMPORT, land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.partitions.months import ensure, ensure_months, list_partitions, unavailable_months

MAY = date(2015, 5, 1)


def archive(connection: psycopg.Connection, month: date) -> None:
    """Move a month to the archive."""
    following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    name = f"events_{month:%Y_%m}"
    with connection.transaction():
        connection.execute(f"alter table public.events detach partition public.{name}")
        connection.execute(f"alter table public.{name} set schema archive")
        connection.execute(
            f"alter table archive.events attach partition archive.{name} "
            f"for values from ('{month} 00:00+00') to ('{following} 00:00+00')"
        )


def make_cold(connection: psycopg.Connection, month: date) -> None:
    """Drop an archived month and record a cold file for it."""
    connection.execute(f"drop table archive.events_{month:%Y_%m}")
    connection.execute(
        "insert into archive.cold_files (month, url, row_count, byte_count, checksum, verified_at, dropped_at) "
        "values (%s, 'file:///x', 7, 700, 'x', now(), now())",
        [month],
    )


def test_months_are_created_once(database_url: str) -> None:
    this_month = now().date().replace(day=1)
    assert ensure(database_url) == []  # the migration created the months
    (made,) = ensure(database_url, months_ahead=4)
    assert made > this_month
    assert ensure(database_url, months_ahead=4) == []
    with connect(database_url) as connection:
        assert ensure_months(connection, [date(2015, 5, 31), date(2015, 5, 1), date(2015, 6, 7)]) == [
            MAY,
            date(2015, 6, 1),
        ]
        assert ensure_months(connection, [date(2015, 5, 2)]) == []


def test_creating_an_archived_or_cold_month_is_rejected_with_the_remedy(database_url: str) -> None:
    with connect(database_url) as connection:
        ensure_months(connection, [MAY])
        archive(connection, MAY)
        for _ in range(2):
            with pytest.raises(UserError) as caught:
                ensure_months(connection, [date(2015, 5, 31)])
            assert "2015-05" in caught.value.message
            assert "tilda restore 2015-05" in caught.value.remedy
            assert unavailable_months(connection, [date(2015, 5, 3), date(2015, 6, 1), now().date()]) == [MAY]
            if connection.execute("select to_regclass('archive.events_2015_05')").fetchone() != (None,):
                make_cold(connection, MAY)


def test_the_list_shows_the_storage_tier_of_each_month(database_url: str) -> None:
    june, july = date(2015, 6, 1), date(2015, 7, 1)
    first, last = datetime(2015, 6, 2, tzinfo=UTC), datetime(2015, 6, 30, 23, 59, 59, tzinfo=UTC)
    with connect(database_url) as connection:
        ensure_months(connection, [MAY, june, july])
        land(connection, [event(at=first), event(at=last), event(at=datetime(1999, 1, 1, tzinfo=UTC))], IMPORT)
        archive(connection, MAY)
        archive(connection, june)
        make_cold(connection, MAY)
    may_found, june_found, july_found, *others, rest = list_partitions(database_url)
    assert (may_found.month, may_found.place, may_found.rows, may_found.bytes, may_found.oldest) == (
        MAY,
        "cold",
        7,
        700,
        None,
    )
    assert (june_found.month, june_found.place, june_found.rows) == (june, "archive", 2)
    assert (june_found.oldest, june_found.newest) == (first, last)
    assert june_found.bytes > 0
    assert june_found.index_bytes > 0
    assert (july_found.month, july_found.place, july_found.rows, july_found.newest) == (july, "live", 0, None)
    assert {partition.place for partition in others} == {"live"}
    assert (rest.month, rest.place, rest.rows) == (None, "default", 1)


def test_a_late_event_of_an_archived_month_does_not_block_new_months(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(
            "insert into archive.cold_files (month, url, row_count, byte_count, checksum, dropped_at)"
            " values ('2001-01-01', 'file:///x', 1, 1, 'x', now())"
        )
        connection.execute(
            "insert into public.events_default (site_id, event_type, created_at)"
            " values ('s', 'page_view', '2001-01-05'), ('s', 'page_view', '2002-02-05')"
        )
    assert ensure(database_url) == [date(2002, 2, 1)]
    with connect(database_url) as connection:
        assert connection.execute("select created_at::date from public.events_default").fetchall() == [
            (date(2001, 1, 5),)
        ]


def test_the_first_and_last_time_of_a_month_are_read_from_the_index(database_url: str) -> None:
    """A month of 20,000 events of three sites is listed without a scan of its table."""
    with connect(database_url) as connection:
        ensure_months(connection, [MAY])
        connection.execute(
            """
            insert into public.events_2015_05 (site_id, event_type, created_at)
            select 'site-' || n % 3, 'page_view', timestamptz '2015-05-03 00:00Z' + n * interval '1 minute'
            from generate_series(1, 20000) as n
            """
        )
        connection.execute("vacuum analyze public.events_2015_05")
        scanned = "select seq_tup_read from pg_stat_user_tables where relname = 'events_2015_05'"
        before = connection.execute(scanned).fetchone()
        (listed,) = [one for one in list_partitions(database_url) if one.month == MAY]
        assert (listed.oldest, listed.newest) == (
            datetime(2015, 5, 3, 0, 1, tzinfo=UTC), datetime(2015, 5, 16, 21, 20, tzinfo=UTC)
        )  # fmt: skip
        assert listed.rows == 20_000
        # a session's statistics are visible at the latest when it has ended
        connection.execute("select pg_stat_clear_snapshot()")
        assert connection.execute(scanned).fetchone() == before
