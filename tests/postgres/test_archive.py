"""Months move to the archive, to a cold file and back without any change to their events."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.postgres.landed import count, counters, event, now
from tests.postgres.months import (
    AGES,
    ARCHIVED,
    COLD,
    FEBRUARY,
    JANUARY,
    contents,
    fill,
    hostile_events,
    indexes,
    places,
    run,
)  # fmt: skip
from warehouse.archive import cold, moves, parquet, runs
from warehouse.archive.checksum import Checksum
from warehouse.archive.months import is_due
from warehouse.events.landing import IMPORT, land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.partitions.months import ensure_months, list_partitions


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return f"file://{tmp_path}/cold storage"


def files(folder: str) -> list[str]:
    place = Path(folder.removeprefix("file://"))
    return sorted(path.name for path in place.glob("*")) if place.exists() else []


def test_a_month_moves_to_archive_and_file_and_back_unchanged(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY, FEBRUARY)
    with connect(database_url) as connection:
        before, counted = contents(connection), counters(connection)
        live_indexes = indexes(connection, "public.events_2020_01")

        assert [(step.month, step.action, step.rows) for step in run(database_url, folder, ARCHIVED)] == [
            (JANUARY, "archive", 60),
            (FEBRUARY, "archive", 60),
        ]
        assert contents(connection) == before
        assert count(connection, "public.events") == 0
        assert indexes(connection, "archive.events_2020_01") == indexes(connection, "archive.events")
        assert run(database_url, folder, ARCHIVED) == []

        assert [(step.month, step.action) for step in run(database_url, folder, datetime(2021, 2, 15, tzinfo=UTC))] == [
            (JANUARY, "cold")
        ]
        assert places(connection) == {"2020_01": "cold", "2020_02": "archive"}
        assert contents(connection) == [row for row in before if row[1] >= datetime(2020, 2, 1, tzinfo=UTC)]
        (listed,) = [one for one in list_partitions(database_url) if one.month == JANUARY]
        assert (listed.place, listed.rows, listed.oldest, listed.newest) == ("cold", 60, before[0][1], before[59][1])
        file = cold.find(connection, JANUARY)
        assert file is not None
        assert [file.url.rpartition("/")[2]] == files(folder)

        assert runs.restore(database_url, JANUARY) == runs.Restored(JANUARY, "cold", 60)
        assert runs.restore(database_url, FEBRUARY) == runs.Restored(FEBRUARY, "archive", 60)
        assert places(connection) == {"2020_01": "public", "2020_02": "public"}
        assert contents(connection) == contents(connection, "public.events") == before
        assert counters(connection) == counted
        assert indexes(connection, "public.events_2020_01") == indexes(connection, "public.events_2020_02")
        assert indexes(connection, "public.events_2020_01") == live_indexes
        assert files(folder) == []
        assert count(connection, "archive.files_to_delete") == 0
        # a resend is still recognised as a duplicate
        assert not land(connection, hostile_events(JANUARY), IMPORT)


def test_the_cold_file_has_typed_columns_and_rows_sorted_by_time(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY)
    run(database_url, folder, COLD)
    with connect(database_url) as connection:
        file = cold.find(connection, JANUARY)
        assert file is not None
        rows = [row for batch in cold.read(file) for row in batch.to_pylist()]
        expected = parquet.table_schema(connection, "public.events")
    assert {str(expected.field(name).type) for name in ("created_at", "loaded_at")} == {"timestamp[us, tz=UTC]"}
    assert str(expected.field("event_id").type) == "extension<arrow.uuid>"
    assert rows == sorted(rows, key=lambda row: (row["created_at"], row["event_id"]))
    assert {type(row["payload"]) for row in rows} == {str}
    assert len(rows) == 60


def test_the_age_of_a_month_counts_from_its_last_import_or_restore(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY, FEBRUARY)
    with connect(database_url) as connection:
        ensure_months(connection, [date(2020, 1, 20)])  # an import of today makes the month young again
    assert {step.month for step in run(database_url, folder, now())} == {FEBRUARY}
    runs.restore(database_url, FEBRUARY)
    assert runs.dry_run(database_url, AGES, now() + timedelta(days=150)) == []
    later = now() + timedelta(days=190)
    assert [(step.month, step.action) for step in runs.dry_run(database_url, AGES, later)] == [
        (JANUARY, "archive"),
        (FEBRUARY, "archive"),
    ]


def test_a_month_that_live_events_can_reach_is_not_archived(database_url: str, folder: str) -> None:
    with connect(database_url) as connection:
        ensure_months(connection, [(now() - timedelta(days=34)).date()])
        connection.execute("update ops.months set imported_at = null")
        land(connection, [event(at=now() - timedelta(days=33)), event()])
    assert run(database_url, folder, now() + timedelta(days=4000)) == []


def test_a_dry_run_lists_the_steps_and_changes_nothing(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY, FEBRUARY)
    with connect(database_url) as connection:
        for moment in (ARCHIVED, datetime(2021, 2, 15, tzinfo=UTC), COLD):
            before = places(connection), contents(connection)
            planned = runs.dry_run(database_url, AGES, moment)
            assert (places(connection), contents(connection)) == before
            assert run(database_url, folder, moment) == planned != []
            assert runs.dry_run(database_url, AGES, moment) == []


def test_an_import_stops_a_pending_archive_of_its_month(database_url: str) -> None:
    fill(database_url, JANUARY)
    with connect(database_url) as connection, connect(database_url) as importing:
        assert is_due(connection, JANUARY, "archive", AGES, now())
        ensure_months(importing, [JANUARY])
        assert not moves.move(
            connection, JANUARY, "archive",
            still_wanted=lambda: is_due(connection, JANUARY, "archive", AGES, now()),
        )  # fmt: skip
        assert places(connection) == {"2020_01": "public"}
        assert len(land(importing, [event(at=datetime(2020, 1, 30, tzinfo=UTC))], IMPORT)) == 1
        assert count(connection, "public.events_2020_01") == 61


@pytest.mark.parametrize("moment", [ARCHIVED, COLD])
def test_an_archived_or_cold_month_rejects_imports_until_restored(
    database_url: str, folder: str, moment: datetime
) -> None:
    fill(database_url, JANUARY)
    run(database_url, folder, moment)
    late = event(at=datetime(2020, 1, 30, tzinfo=UTC))
    with connect(database_url) as connection:
        with pytest.raises(UserError) as caught:
            ensure_months(connection, [JANUARY])
        assert "tilda restore 2020-01" in caught.value.remedy
        # A late event and resends wait in the default partition. The restore moves the event and drops the resends.
        land(connection, [late, *hostile_events(JANUARY)[:3]], IMPORT)
        assert count(connection, "public.events_default") >= 1
        runs.restore(database_url, JANUARY)
        assert count(connection, "public.events_2020_01") == 61
        assert count(connection, "public.events_default") == 0
        assert ensure_months(connection, [JANUARY]) == []


def test_a_month_is_not_dropped_if_its_file_lacks_a_row(
    database_url: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database_url, JANUARY)
    with connect(database_url) as connection:
        before = contents(connection)
        write = parquet.write

        def lose_a_row(file, schema, batches, progress) -> None:
            write(file, schema, (batch.slice(1) for batch in batches), progress)

        monkeypatch.setattr(parquet, "write", lose_a_row)
        with pytest.raises(UserError, match=r"59 rows.*60 rows"):
            run(database_url, folder, COLD)
        monkeypatch.undo()
        assert contents(connection) == before
        assert len(files(folder)) == 1
        run(database_url, folder, COLD)
        assert places(connection) == {"2020_01": "cold"}
        assert len(files(folder)) == 1


def test_a_damaged_file_is_not_restored(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY)
    run(database_url, folder, COLD)
    with connect(database_url) as connection:
        file = cold.find(connection, JANUARY)
        assert file is not None
        path = Path(folder.removeprefix("file://")) / file.url.rpartition("/")[2]
        good, rows = path.read_bytes(), pq.read_table(path)
        titles = pa.array(["another", *rows["page_title"].to_pylist()[1:]])
        pq.write_table(rows.set_column(rows.schema.get_field_index("page_title"), "page_title", titles), path)
        one_value = path.read_bytes()
        pq.write_table(rows.slice(1), path)
        for damaged in (one_value, path.read_bytes(), good[:-100], b""):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match="events_2020_01"):
                runs.restore(database_url, JANUARY)
            assert places(connection) == {"2020_01": "cold"}
        path.unlink()
        with pytest.raises(UserError, match="cannot be read"):
            runs.restore(database_url, JANUARY)
        path.write_bytes(good)
        runs.restore(database_url, JANUARY)
        assert count(connection, "public.events_2020_01") == 60


def test_an_unwritable_cold_storage_is_reported_with_the_setting(database_url: str, tmp_path: Path) -> None:
    fill(database_url, JANUARY)
    (tmp_path / "file").write_text("no folder")
    for folder in (f"file://{tmp_path}/file/cold", "nonsense://bucket/cold"):
        with pytest.raises(UserError, match="cannot be written") as caught:
            run(database_url, folder, COLD)
        assert "COLD_STORAGE_URL" in caught.value.remedy
    with connect(database_url) as connection:
        assert places(connection) == {"2020_01": "archive"}


def test_a_visitor_is_removed_from_a_cold_file(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY)
    run(database_url, folder, COLD)
    with connect(database_url) as connection:
        old = cold.find(connection, JANUARY)
        assert old is not None
        gone = cold.rewrite(connection, old, folder, is_of_another_visitor)
        cold.sweep(connection)
        new = cold.find(connection, JANUARY)
        assert new is not None
        assert (new.row_count, len(files(folder))) == (60 - gone, 1)
        assert gone > 5
        assert cold.rewrite(connection, new, folder, is_of_another_visitor) == 0
        runs.restore(database_url, JANUARY)
        assert count(connection, "public.events") == 60 - gone
        assert connection.execute("select from events where user_id = 'user-1'").fetchall() == []
        assert connection.execute("select from events where user_id is null").fetchall() != []


def is_of_another_visitor(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pa.array([visitor != "user-1" for visitor in batch.column("user_id").to_pylist()])


def test_restoring_a_live_or_unknown_month_is_rejected(database_url: str) -> None:
    fill(database_url, JANUARY)
    with pytest.raises(UserError, match="already live"):
        runs.restore(database_url, JANUARY)
    with pytest.raises(UserError, match="no month 2019-05"):
        runs.restore(database_url, date(2019, 5, 1))


def test_default_grants_do_not_open_a_partition_in_any_storage_tier(database_url: str, folder: str) -> None:
    """Supabase grants privileges on every new table to `anon` by default."""
    grant = (
        "alter default privileges in schema public, archive grant all on tables to anon, authenticated, service_role"
    )
    with connect(database_url) as connection:
        connection.execute(grant)
        fill(database_url, JANUARY, FEBRUARY)
        for act in (
            lambda: None,
            lambda: run(database_url, folder, ARCHIVED),
            lambda: run(database_url, folder, datetime(2021, 2, 15, tzinfo=UTC)),
            lambda: runs.restore(database_url, JANUARY),
            lambda: runs.restore(database_url, FEBRUARY),
        ):
            act()
            granted = connection.execute(
                """
                select c.oid::regclass::text, c.relrowsecurity, c.relacl from pg_inherits as i
                inner join pg_class as c on c.oid = i.inhrelid
                where
                    i.inhparent in ('public.events'::regclass, 'archive.events'::regclass)
                    and (not c.relrowsecurity or exists (
                        select from aclexplode(c.relacl) as a where a.grantee <> c.relowner
                    ))
                """
            ).fetchall()
            assert granted == []


def test_writers_do_not_wait_while_a_move_waits_for_a_long_query(database_url: str) -> None:
    fill(database_url, JANUARY)
    with connect(database_url) as connection, connect(database_url) as analyst, connect(database_url) as writer:
        with analyst.transaction():
            analyst.execute("select count(*) from public.events")
            moving = threading.Thread(target=move_january, args=(database_url,))
            moving.start()
            # The writes would block until the query ends if the move stayed in the lock queue.
            writer.execute("set lock_timeout = '20s'")
            for _ in range(20):
                assert len(land(writer, [event()])) == 1
            assert places(connection) == {"2020_01": "public"}
        moving.join(100)
        assert not moving.is_alive()
        assert places(connection) == {"2020_01": "archive"}


def move_january(url: str) -> None:
    with connect(url) as connection:
        assert moves.move(connection, JANUARY, "archive")


def test_readers_see_every_event_exactly_once_while_months_move(database_url: str, folder: str) -> None:
    fill(database_url, JANUARY, FEBRUARY)
    stop, seen, failed = threading.Event(), set[int](), list[psycopg.Error]()

    def read(separately: bool) -> None:
        try:
            with connect(database_url) as connection:
                while not stop.is_set():
                    if separately:  # in the reverse order of the view
                        with connection.transaction():
                            connection.execute("set transaction isolation level repeatable read")
                            seen.add(count(connection, "archive.events") + count(connection, "public.events"))
                    else:
                        seen.add(count(connection, "archive.all_events"))
        except psycopg.Error as error:
            failed.append(error)

    readers = [threading.Thread(target=read, args=(separately,)) for separately in (False, True)]
    for reader in readers:
        reader.start()
    try:
        run(database_url, folder, ARCHIVED)
        runs.restore(database_url, JANUARY)
        runs.restore(database_url, FEBRUARY)
    finally:
        stop.set()
        for reader in readers:
            reader.join(60)
    assert failed == []
    assert seen == {120}


def test_a_second_concurrent_run_is_rejected(database_url: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PATIENCE_SECONDS", 0)
    with connect(database_url) as connection, runs.archive_lock(connection):
        with pytest.raises(UserError, match="Another archive run"):
            run(database_url, folder, COLD)
        assert runs.dry_run(database_url, AGES, COLD) == []
    assert run(database_url, folder, COLD) == []


def test_the_arrow_checksum_equals_the_postgres_checksum(database_url: str) -> None:
    """The checksum does not depend on batches or row order, and changes if any value changes."""
    fill(database_url, JANUARY)
    with connect(database_url) as connection:
        connection.execute("set timezone = 'UTC'")
        schema = parquet.table_schema(connection, "public.events_2020_01")
        batches = list(parquet.copy_out(connection, psycopg.sql.Identifier("public", "events_2020_01"), schema))

        def postgres() -> tuple[int, str]:
            row = connection.execute(
                "select row_count, checksum from ops.checksum('public.events_2020_01', %s)", [schema.names]
            ).fetchone()
            assert row is not None
            return row

        in_order, in_pieces = Checksum(), Checksum()
        for batch in batches:
            in_order.add(batch)
            for start in reversed(range(0, batch.num_rows, 7)):
                in_pieces.add(batch.slice(start, 7))
        first = postgres()
        assert (in_order.rows, in_order.text()) == (in_pieces.rows, in_pieces.text()) == first
        for change in ("page_title = coalesce(page_title, '')", "loaded_at = loaded_at + interval '1 microsecond'"):
            connection.execute(f"update public.events_2020_01 set {change}")
            assert postgres() != first
