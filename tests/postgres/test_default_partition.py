"""Events without a month's partition are stored in the default partition and move unchanged into a new month."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime

import psycopg
import pytest

from tests.postgres.landed import count, counters, event
from tests.postgres.months import contents, hostile_events, indexes
from warehouse.events.landing import IMPORT, land
from warehouse.kit.database import connect
from warehouse.partitions.months import ensure

MARCH, APRIL = date(2020, 3, 1), date(2020, 4, 1)


@pytest.mark.parametrize("number", [60, 5200], ids=["few", "many"])
def test_rows_of_the_default_partition_move_to_their_month_unchanged(database_url: str, number: int) -> None:
    """If there are many rows, the default partition is attached as the month instead of moving the rows."""
    with connect(database_url) as connection:
        land(connection, [*hostile_events(MARCH, number), *hostile_events(APRIL)], IMPORT)
        before, counted = contents(connection, "public.events"), counters(connection)
        assert count(connection, "public.events_default") == number + 60

        assert ensure(database_url) == [MARCH, APRIL]
        assert contents(connection, "public.events") == before
        assert counters(connection) == counted
        assert count(connection, "public.events_default") == 0
        assert count(connection, "public.events_2020_03") == number
        for table in ("events_2020_03", "events_2020_04", "events_default"):
            assert indexes(connection, f"public.{table}") == indexes(connection, "public.events")
            assert has_row_security_and_no_grants(connection, table)
        # the new month and the default partition accept events
        assert len(land(connection, [event(at=datetime(2020, month, 9, tzinfo=UTC)) for month in (3, 5)], IMPORT)) == 2
        assert count(connection, "public.events_default") == 1


@pytest.mark.parametrize("number", [60, 5200], ids=["few", "many"])
def test_events_that_arrive_while_a_month_is_created_are_kept(database_url: str, number: int) -> None:
    landed, stop = [0], threading.Event()

    def write() -> None:
        with connect(database_url) as connection:
            while not stop.is_set() or landed[0] < 20:
                landed[0] += len(land(connection, [event(at=datetime(2020, 3, 9, tzinfo=UTC))], IMPORT))

    with connect(database_url) as connection:
        land(connection, hostile_events(MARCH, number), IMPORT)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            made = ensure(database_url)
        finally:
            stop.set()
            writer.join(60)
        assert made == [MARCH]
        assert count(connection, "public.events_2020_03") == number + landed[0]
        assert count(connection, "public.events_default") == 0


def has_row_security_and_no_grants(connection: psycopg.Connection, table: str) -> bool:
    row = connection.execute(
        """
        select c.relrowsecurity and not exists (select from aclexplode(c.relacl) as a where a.grantee <> c.relowner)
        from pg_class as c where c.oid = %s::regclass
        """,
        [f"public.{table}"],
    ).fetchone()
    return row == (True,)
