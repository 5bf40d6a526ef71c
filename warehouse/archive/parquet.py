"""Convert events between Postgres and Parquet: typed columns, sorted by time, zstd compression, `payload` as JSON text.

Rows are transferred as CSV with COPY. Arrow parses and writes CSV without creating Python objects for values.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, cast

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from psycopg import sql
from psycopg.abc import Buffer

from warehouse.archive.checksum import uuid_texts

ROWS = 65_536
"""Rows per row group and per batch; limits memory."""
BLOCK = 1 << 24
"""Bytes of CSV per read; must be larger than any event."""
ZSTD_LEVEL = 9

_TIME = pa.timestamp("us", tz="UTC")
_TYPES = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "boolean": pa.bool_(),
    "timestamp with time zone": _TIME,
    "uuid": pa.uuid(),
}
"""Parquet types by Postgres type. All other types (text, inet, jsonb) are stored as text."""

_REPEATED = {"session_id", "visit_id", "tab_id"}
"""UUIDs that many rows share; a dictionary stores each of them once."""

OnRows = Callable[[int], None]
"""Called with the number of additional processed rows."""


def table_schema(connection: psycopg.Connection, table: str) -> pa.Schema:
    """Return the Parquet schema of the table `schema.name`."""
    rows = connection.execute(
        """
        select attname, format_type(atttypid, null) from pg_attribute
        where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
        """,
        [table],
    )
    return pa.schema([pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in rows])


def copy_out(connection: psycopg.Connection, table: sql.Identifier, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table, sorted by `created_at, event_id`."""
    as_read = [pa.field(field.name, _read_as(field.type)) for field in schema]
    statement = sql.SQL("copy (select {} from {} order by created_at, event_id) to stdout (format csv)").format(
        sql.SQL(", ").join(map(sql.Identifier, schema.names)), table
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        stream = io.BufferedReader(_CopyStream(iter(copy)), 1 << 20)
        if not stream.peek(1):
            return
        reader = pcsv.open_csv(
            stream,
            read_options=pcsv.ReadOptions(column_names=schema.names, block_size=BLOCK),
            parse_options=pcsv.ParseOptions(newlines_in_values=True),
            convert_options=pcsv.ConvertOptions(
                column_types=pa.schema(as_read),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        for batch in reader:
            columns = [_typed(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def copy_in(
    connection: psycopg.Connection, table: sql.Identifier, names: list[str], batches: Iterable[pa.RecordBatch]
) -> None:
    """Insert rows into a table. Columns that are not in `names` get their defaults."""
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, names))
    )
    options = pcsv.WriteOptions(include_header=False, quoting_style="all_valid")
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in batches:
            text = io.BytesIO()
            plain = pa.RecordBatch.from_arrays([_plain(column) for column in batch.columns], names=batch.schema.names)
            pcsv.write_csv(plain, text, options)
            copy.write(text.getbuffer())


def write(file: IO[bytes], schema: pa.Schema, batches: Iterable[pa.RecordBatch], on_rows: OnRows) -> None:
    """Write a Parquet file in row groups of `ROWS`."""
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    numbers = [field.name for field in schema if pa.types.is_timestamp(field.type) or pa.types.is_int64(field.type)]
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=cast("Any", [*texts, *(name for name in schema.names if name in _REPEATED)]),
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        write_statistics=True,
        write_page_checksum=True,
    ) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(part.num_rows for part in waiting) >= ROWS:
                table = pa.Table.from_batches(waiting)
                whole = table.num_rows - table.num_rows % ROWS
                writer.write_table(table.slice(0, whole), row_group_size=ROWS)
                on_rows(whole)
                waiting = table.slice(whole).to_batches()
        rest = pa.Table.from_batches(waiting, schema)
        if rest.num_rows:
            writer.write_table(rest)
            on_rows(rest.num_rows)


def read(file: IO[bytes], columns: list[str] | None = None) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the schema of a file, and its rows in batches (all columns by default). Page checksums are verified."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    return parquet.schema_arrow, parquet.iter_batches(ROWS, columns=columns)


class _CopyStream(io.RawIOBase):
    """The output of COPY as a file."""

    def __init__(self, blocks: Iterator[Buffer]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _read_as(kind: pa.DataType) -> pa.DataType:
    return pa.string() if isinstance(kind, pa.UuidType) else kind


def _typed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert a column read from CSV to its type. Only UUIDs need a conversion."""
    if not isinstance(kind, pa.UuidType):
        return values
    there = [text.replace("-", "") for text in values.drop_null().to_pylist()]
    packed = pa.Array.from_buffers(pa.binary(16), len(there), [None, pa.py_buffer(bytes.fromhex("".join(there)))])
    places = np.where(values.is_valid().to_numpy(zero_copy_only=False), np.cumsum(values.is_valid()) - 1, -1)
    spread = packed.take(pa.array(places, mask=places < 0)) if there else pa.nulls(len(values), pa.binary(16))
    return spread.cast(kind)


def _plain(values: pa.Array) -> pa.Array:
    """Convert a column to a type that CSV can hold."""
    return uuid_texts(values.storage) if isinstance(values.type, pa.UuidType) else values
