"""Move a month to a Parquet file in cold storage and back.

The file is read back and compared with the table before the table is dropped. A file is listed in
`archive.files_to_delete` before its first byte is written, and removed from the list in the transaction that makes the
file the month's only copy. So a kill never loses a month, and never leaves an unlisted file.
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
from warehouse.archive.parquet import OnRows
from warehouse.kit.errors import UserError
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"

Keep = Callable[[pa.RecordBatch], pa.BooleanArray]
"""Returns for each row whether to keep it."""


def _ignore_rows(_: int) -> None: ...


@dataclass(frozen=True)
class ColdFile:
    """A row of `archive.cold_files`."""

    month: date
    url: str
    row_count: int
    byte_count: int
    checksum: str


def find(connection: psycopg.Connection, month: date) -> ColdFile | None:
    """Return the file of a month; None if the month is not cold."""
    return next((file for file in list_files(connection) if file.month == month), None)


def list_files(connection: psycopg.Connection) -> list[ColdFile]:
    """Return the files of all cold months, oldest first."""
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
    on_rows: OnRows = _ignore_rows,
) -> ColdFile | None:
    """Write an archived month to a file and drop its table. This blocks writers of the month, but not readers.

    Args:
        connection: The owner's connection, in autocommit mode.
        month: First day of a month under `archive.events`.
        folder: fsspec URL of the folder.
        still_wanted: Called after writers were blocked; False cancels the move.
        on_rows: Called for rows that were written, and again for rows that were read back.

    Returns:
        The file; None if the move was canceled.

    Raises:
        UserError: The folder cannot be written to, or the file differs from the table. The table is kept.
    """
    name = table_name(month)
    table = sql.Identifier("archive", name)
    url = _note_new_file(connection, month, folder)
    with connection.transaction():
        connection.execute(sql.SQL("lock table {} in share mode").format(table))
        if not still_wanted():
            return None
        schema = parquet.table_schema(connection, f"archive.{name}")
        _write(url, schema, parquet.copy_out(connection, table, schema), on_rows)
        file, oldest, newest = _compared(connection, month, url, schema.names, on_rows)
        _record(connection, file, oldest, newest)
        connection.execute("select ops.lock_briefly('archive.events', %s::regclass)", [f"archive.{name}"])
        connection.execute(sql.SQL("drop table {}").format(table))
    return file


def thaw(connection: psycopg.Connection, file: ColdFile, *, on_rows: OnRows = _ignore_rows) -> None:
    """Move a cold month back to `public.events` in one transaction, and list its file for deletion.

    Rows of visitors and sessions that retention has deleted are created again, because erasure finds the live events of
    a person through them.

    Args:
        connection: The owner's connection, in autocommit mode.
        file: The month's file.
        on_rows: Called for loaded rows.

    Raises:
        UserError: The file cannot be read, or does not match its checksum. The month stays cold.
    """
    loaded = f"restoring_{file.month:%Y_%m}"
    table = sql.Identifier("archive", loaded)
    with connection.transaction():
        connection.execute(
            sql.SQL("create table {} (like public.events including all excluding indexes excluding statistics)").format(
                table
            )
        )
        # The file may be older than this constraint, or than a column, which is then null.
        connection.execute(sql.SQL("alter table {} drop constraint events_ip_address_is_network").format(table))
        connection.execute("select ops.close_partition(%s::regclass)", [f"archive.{loaded}"])
        with storage.reading(file.url) as stream:
            schema, batches = parquet.read(stream)
            parquet.copy_in(connection, table, schema.names, _counted(batches, on_rows))
        rows, checksum, _, _ = _table_checksum(connection, f"archive.{loaded}", schema.names)
        if (rows, checksum) != (file.row_count, file.checksum):
            raise _mismatch(file, rows)
        connection.execute("select ops.truncate_addresses(%s::regclass)", [f"archive.{loaded}"])
        connection.execute("select ops.add_address_check(%s::regclass)", [f"archive.{loaded}"])
        build_missing_indexes(connection, "public.events", "archive", loaded, concurrently=False)
        connection.execute("select ops.bound_month(%s::regclass, %s)", [f"archive.{loaded}", file.month])
        connection.execute(sql.SQL("alter table {} validate constraint events_lie_in_month").format(table))
        connection.execute(sql.SQL("analyze {}").format(table))
        # reads all rows, so it runs before take_in_month takes its locks
        connection.execute(sql.SQL(read_query(SQL_DIR, "collect_missing_counters")).format(month=table))
        connection.execute("select ops.take_in_month(%s::regclass, %s)", [f"archive.{loaded}", file.month])
        connection.execute(read_query(SQL_DIR, "insert_missing_counters"))
        note_restored(connection, file.month)
        connection.execute("delete from archive.cold_files where month = %s", [file.month])
        connection.execute("insert into archive.files_to_delete (url) values (%s)", [file.url])


def rewrite(connection: psycopg.Connection, file: ColdFile, folder: str, keep: Keep) -> int:
    """Replace a month's file with a verified file without some of the rows. `sweep` deletes the old file.

    Args:
        connection: The owner's connection, in autocommit mode, under `runs.archive_lock`.
        file: The month's file.
        folder: fsspec URL of the folder for the new file.
        keep: Returns which rows to keep. It is called twice for each batch and must return the same result.

    Returns:
        Number of removed rows; with 0, no file was written.

    Raises:
        UserError: A file cannot be read or written, or does not match its checksum. The old file stays in use.
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
        _write(url, schema, kept(batches), _ignore_rows)
    found, size, oldest, newest = _read_back(url, _ignore_rows)
    if (found.rows, found.text()) != (after.rows, after.text()):
        raise UserError(
            f"{url} differs from what was written.", "Check the storage and run it again; nothing was replaced."
        )
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
    """Yield the rows of a cold month in batches, with all columns by default.

    Raises:
        UserError: The file cannot be read.
    """
    with storage.reading(file.url) as stream:
        yield from parquet.read(stream, columns)[1]


def sweep(connection: psycopg.Connection) -> list[str]:
    """Delete the files in `archive.files_to_delete`. Return their URLs.

    Raises:
        UserError: A file cannot be deleted. The next run tries again.
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


def _write(url: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], on_rows: OnRows) -> None:
    with storage.writing(url) as stream:
        parquet.write(stream, schema, batches, on_rows)


def _read_back(url: str, on_rows: OnRows) -> tuple[Checksum, int, datetime | None, datetime | None]:
    found, ends = Checksum(), list[datetime]()
    with storage.reading(url) as stream:
        for batch in _counted(parquet.read(stream)[1], on_rows):
            found.add(batch)
            if batch.num_rows:
                times = batch.column("created_at")
                ends += [times[0].as_py(), times[-1].as_py()]
    return found, storage.size(url), min(ends, default=None), max(ends, default=None)


def _compared(
    connection: psycopg.Connection, month: date, url: str, columns: list[str], on_rows: OnRows
) -> tuple[ColdFile, datetime | None, datetime | None]:
    """Read the file back, compare it with the table, and return its record, oldest and newest time.

    Raises:
        UserError: The file differs from the table.
    """
    found, size, *_ = _read_back(url, on_rows)
    rows, checksum, oldest, newest = _table_checksum(connection, f"archive.{table_name(month)}", columns)
    if (found.rows, found.text()) != (rows, checksum):
        raise UserError(
            f"The file {url} ({found.rows:,} rows) differs from the table of the month {month:%Y-%m} ({rows:,} rows).",
            "Check the storage and run it again; nothing was dropped.",
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


def _counted(batches: Iterable[pa.RecordBatch], on_rows: OnRows) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        on_rows(batch.num_rows)


def _mismatch(file: ColdFile, rows: int) -> UserError:
    return UserError(
        f"{file.url} does not match the record of {file.month:%Y-%m}: it has {rows:,} of {file.row_count:,} rows, or"
        " other content.",
        "Restore the file from a backup of the storage; nothing was changed.",
    )
