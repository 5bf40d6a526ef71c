"""A month as one Parquet file in cold storage: written, read back, compared, and only then dropped from Postgres.

A file is noted in `archive.files_to_delete` before its first byte is written, and struck off in the transaction that
makes it the month's one place. So a kill leaves no month without its table or its file, and no file that nobody knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
from psycopg import sql

from warehouse.archive import parquet, storage
from warehouse.archive.checksum import Checksum
from warehouse.archive.months import table_name
from warehouse.archive.moves import build_missing_indexes, note_restored
from warehouse.archive.parquet import Progress
from warehouse.kit.errors import UserError
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"

Keep = Callable[[pa.RecordBatch], pa.BooleanArray]
"""Says of each row whether it stays."""


def _no_progress(_: int) -> None: ...


@dataclass(frozen=True)
class ColdFile:
    """A row of `archive.cold_files`."""

    month: date
    url: str
    row_count: int
    byte_count: int
    checksum: str


def find(connection: psycopg.Connection, month: date) -> ColdFile | None:
    """The file of a month; None if it is not cold."""
    return next((file for file in list_files(connection) if file.month == month), None)


def list_files(connection: psycopg.Connection) -> list[ColdFile]:
    """The files of all cold months, oldest first."""
    rows = connection.execute(
        """
        select month, url, row_count, byte_count, checksum from archive.cold_files
        where dropped_at is not null order by month
        """
    )
    return [ColdFile(*row) for row in rows]


def freeze(
    connection: psycopg.Connection,
    month: date,
    folder: str,
    *,
    still_wanted: Callable[[], bool] = lambda: True,
    progress: Progress = _no_progress,
) -> ColdFile | None:
    """Write an archived month to a file and drop its table. Nobody may write to the month meanwhile; reading goes on.

    Args:
        connection: The owner's, in autocommit mode.
        month: First day of a month under `archive.events`.
        folder: fsspec URL of the folder.
        still_wanted: Asked when the month can change no more.
        progress: Told of rows: once when they are written, once when they are read back.

    Returns:
        The file; None if the month was not wanted any more.

    Raises:
        UserError: The folder cannot be written to, or what was read back is not what the table holds. The table stays.
    """
    name = table_name(month)
    table = sql.Identifier("archive", name)
    url = _note_new_file(connection, month, folder)
    with connection.transaction():
        connection.execute(sql.SQL("lock table {} in share mode").format(table))
        if not still_wanted():
            return None
        schema = parquet.table_schema(connection, f"archive.{name}")
        _write(url, schema, parquet.copy_out(connection, table, schema), progress)
        file, oldest, newest = _compared(connection, month, url, schema.names, progress)
        _record(connection, file, oldest, newest)
        connection.execute("select ops.lock_briefly('archive.events', %s::regclass)", [f"archive.{name}"])
        connection.execute(sql.SQL("drop table {}").format(table))
    return file


def thaw(connection: psycopg.Connection, file: ColdFile, *, progress: Progress = _no_progress) -> None:
    """Bring a cold month back under `public.events`, all of it in one transaction, and note its file for deletion.

    Visitors and sessions of the month whose rows retention has deleted get rows again: erasing a person finds live
    events through them.

    Args:
        connection: The owner's, in autocommit mode.
        file: The month's file.
        progress: Told of rows when they are loaded.

    Raises:
        UserError: The file cannot be read, or is not what was written. The month stays cold.
    """
    loaded = f"restoring_{file.month:%Y_%m}"
    table = sql.Identifier("archive", loaded)
    with connection.transaction():
        connection.execute(
            sql.SQL("create table {} (like public.events including all excluding indexes excluding statistics)").format(
                table
            )
        )
        # The file may be older than this constraint, and than a column, which is null then.
        connection.execute(sql.SQL("alter table {} drop constraint events_ip_address_is_network").format(table))
        connection.execute("select ops.close_partition(%s::regclass)", [f"archive.{loaded}"])
        with storage.reading(file.url) as stream:
            schema, batches = parquet.read(stream)
            parquet.copy_in(connection, table, schema.names, _counted(batches, progress))
        rows, checksum, _, _ = _table_checksum(connection, f"archive.{loaded}", schema.names)
        if (rows, checksum) != (file.row_count, file.checksum):
            raise _mismatch(file, rows)
        connection.execute("select ops.truncate_addresses(%s::regclass)", [f"archive.{loaded}"])
        connection.execute("select ops.add_address_check(%s::regclass)", [f"archive.{loaded}"])
        build_missing_indexes(connection, "public.events", "archive", loaded, concurrently=False)
        connection.execute("select ops.bound_month(%s::regclass, %s)", [f"archive.{loaded}", file.month])
        connection.execute(sql.SQL("alter table {} validate constraint events_lie_in_month").format(table))
        connection.execute(sql.SQL("analyze {}").format(table))
        # before the locks of take_in_month, under which only the few rows that are missing are inserted
        connection.execute(sql.SQL(read_query(SQL_DIR, "collect_missing_counters")).format(month=table))
        connection.execute("select ops.take_in_month(%s::regclass, %s)", [f"archive.{loaded}", file.month])
        connection.execute(read_query(SQL_DIR, "insert_missing_counters"))
        note_restored(connection, file.month)
        connection.execute("delete from archive.cold_files where month = %s", [file.month])
        connection.execute("insert into archive.files_to_delete (url) values (%s)", [file.url])


def rewrite(connection: psycopg.Connection, file: ColdFile, folder: str, keep: Keep) -> int:
    """Replace a month's file by one without some of its rows, verified; the old one is deleted by `sweep`.

    Args:
        connection: The owner's, in autocommit mode, under `runs.only_one`.
        file: The month's file.
        folder: fsspec URL of the folder for the new one.
        keep: Says which rows stay. It is called twice for each batch, and must answer the same.

    Returns:
        How many rows are gone; 0 if nothing had to be written.

    Raises:
        UserError: A file cannot be read or written, or is not what was written. The old file stays the month's place.
    """
    before, after = Checksum(), Checksum()

    def kept(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.filter(keep(batch))

    with storage.reading(file.url) as stream:
        _, batches = parquet.read(stream)
        for batch in batches:
            before.add(batch)
            after.add(batch.filter(keep(batch)))
    if (before.rows, before.text()) != (file.row_count, file.checksum):
        raise _mismatch(file, before.rows)
    if after.rows == before.rows:
        return 0
    url = _note_new_file(connection, file.month, folder)
    with storage.reading(file.url) as stream:
        schema, batches = parquet.read(stream)
        _write(url, schema, kept(batches), _no_progress)
    found, size, oldest, newest = _read_back(url, _no_progress)
    if (found.rows, found.text()) != (after.rows, after.text()):
        raise UserError(f"{url} is not what was written.", "Check the storage and run it again; nothing was replaced.")
    with connection.transaction():
        connection.execute(
            """
            update archive.cold_files
            set
                url = %s, row_count = %s, byte_count = %s, checksum = %s, oldest = %s, newest = %s,
                written_at = clock_timestamp(), verified_at = clock_timestamp()
            where month = %s
            """,
            [url, found.rows, size, found.text(), oldest, newest, file.month],
        )
        connection.execute("delete from archive.files_to_delete where url = %s", [url])
        connection.execute("insert into archive.files_to_delete (url) values (%s)", [file.url])
    return before.rows - after.rows


def read(file: ColdFile, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a cold month, in batches; only these columns, if any are named.

    Raises:
        UserError: The file cannot be read.
    """
    with storage.reading(file.url) as stream:
        yield from parquet.read(stream, columns)[1]


def sweep(connection: psycopg.Connection) -> list[str]:
    """Delete the files that are no month's place. Returns their URLs.

    Raises:
        UserError: The storage refuses. The next run tries again.
    """
    urls = [row[0] for row in connection.execute("select url from archive.files_to_delete order by noted_at")]
    for url in urls:
        storage.delete(url)
        connection.execute("delete from archive.files_to_delete where url = %s", [url])
    return urls


def _note_new_file(connection: psycopg.Connection, month: date, folder: str) -> str:
    url = storage.file_url(folder, f"events_{month:%Y_%m}-{secrets.token_hex(4)}.parquet")
    connection.execute("insert into archive.files_to_delete (url) values (%s)", [url])
    return url


def _write(url: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], progress: Progress) -> None:
    with storage.writing(url) as stream:
        parquet.write(stream, schema, batches, progress)


def _read_back(url: str, progress: Progress) -> tuple[Checksum, int, datetime | None, datetime | None]:
    found, ends = Checksum(), list[datetime]()
    with storage.reading(url) as stream:
        for batch in _counted(parquet.read(stream)[1], progress):
            found.add(batch)
            if batch.num_rows:
                times = batch.column("created_at")
                ends += [times[0].as_py(), times[-1].as_py()]
    return found, storage.size(url), min(ends, default=None), max(ends, default=None)


def _compared(
    connection: psycopg.Connection, month: date, url: str, columns: list[str], progress: Progress
) -> tuple[ColdFile, datetime | None, datetime | None]:
    """The file, once it is known to hold exactly what the table holds."""
    found, size, *_ = _read_back(url, progress)
    rows, checksum, oldest, newest = _table_checksum(connection, f"archive.{table_name(month)}", columns)
    if (found.rows, found.text()) != (rows, checksum):
        raise UserError(
            f"What was read back from {url} ({found.rows:,} rows) is not what the month {month:%Y-%m} holds"
            f" ({rows:,} rows).",
            "Nothing was dropped; check the storage and run it again.",
        )
    return ColdFile(month, url, rows, size, checksum), oldest, newest


def _table_checksum(
    connection: psycopg.Connection, table: str, columns: list[str]
) -> tuple[int, str, datetime | None, datetime | None]:
    row = connection.execute("select * from ops.checksum(%s::regclass, %s)", [table, columns]).fetchone()
    assert row is not None
    return row


def _record(connection: psycopg.Connection, file: ColdFile, oldest: datetime | None, newest: datetime | None) -> None:
    connection.execute(
        """
        insert into archive.cold_files
            (month, url, row_count, byte_count, checksum, oldest, newest, verified_at, dropped_at)
        values (%s, %s, %s, %s, %s, %s, %s, clock_timestamp(), clock_timestamp())
        """,
        [file.month, file.url, file.row_count, file.byte_count, file.checksum, oldest, newest],
    )
    connection.execute("delete from archive.files_to_delete where url = %s", [file.url])


def _counted(batches: Iterable[pa.RecordBatch], progress: Progress) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        progress(batch.num_rows)


def _mismatch(file: ColdFile, rows: int) -> UserError:
    return UserError(
        f"{file.url} is not what was written for {file.month:%Y-%m}: {rows:,} rows where {file.row_count:,} are"
        " recorded, or another content.",
        "Bring the file back from a copy of the storage; nothing was changed.",
    )
