"""Move a month between `public.events` and `archive.events` without copying rows.

Slow work (building indexes, validating the CHECK) happens before the move and blocks no reader or writer; the move
itself blocks them for milliseconds. Each step can continue an interrupted run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Literal, LiteralString, cast

import psycopg
from psycopg import sql

from warehouse.archive.months import table_name

Target = Literal["archive", "public"]


def move(
    connection: psycopg.Connection, month: date, target: Target, *, still_wanted: Callable[[], bool] = lambda: True
) -> bool:
    """Move a month to the other parent.

    Args:
        connection: The owner's connection, in autocommit mode.
        month: First day of the month.
        target: Schema of the target parent.
        still_wanted: Called in the transaction of the move, after the lock was taken; False cancels the move.

    Returns:
        Whether the month was moved. Otherwise it is unchanged.
    """
    source, name = "public" if target == "archive" else "archive", table_name(month)
    build_missing_indexes(connection, f"{target}.events", source, name, concurrently=True)
    connection.execute("select ops.bound_month(%s::regclass, %s)", [f"{source}.{name}", month])
    connection.execute(
        sql.SQL("alter table {} validate constraint events_lie_in_month").format(sql.Identifier(source, name))
    )
    with connection.transaction() as transaction:
        # imports begin under the same lock, so a move and an import that begin at the same time see each other
        connection.execute("select pg_advisory_xact_lock(hashtextextended('tilda.make_month', 0))")
        if not still_wanted():
            raise psycopg.Rollback(transaction)
        connection.execute("select ops.move_month(%s, %s)", [month, target])
        if target == "public":
            note_restored(connection, month)
    drop_spare_indexes(connection, f"{target}.events", month)
    row = connection.execute("select to_regclass(%s) is not null", [f"{target}.{name}"]).fetchone()
    return row is not None and row[0]


def note_restored(connection: psycopg.Connection, month: date) -> None:
    """Record that a month was restored now; its age counts from this time."""
    connection.execute(
        """
        insert into ops.months (month, restored_at) values (%s, now())
        on conflict (month) do update set restored_at = excluded.restored_at
        """,
        [month],
    )


def build_missing_indexes(
    connection: psycopg.Connection, parent: str, schema: str, table: str, *, concurrently: bool
) -> None:
    """Create the indexes that a table needs before it can be attached to a parent.

    Args:
        connection: The owner's connection; in autocommit mode if `concurrently`.
        parent: `public.events` or `archive.events`.
        schema: Schema of the table.
        table: Name of the table.
        concurrently: Whether to build the indexes without blocking writers, for a table that is in use.
    """
    missing = connection.execute(
        "select name, uniqueness, shape from ops.missing_indexes(%s::regclass, %s::regclass)",
        [parent, f"{schema}.{table}"],
    ).fetchall()
    for index, uniqueness, shape in missing:
        if concurrently:
            # a killed run leaves an invalid index
            connection.execute(sql.SQL("drop index if exists {}").format(sql.Identifier(schema, index)))
        connection.execute(
            sql.SQL("create {} index {} {} on {} {}").format(
                sql.SQL("unique" if uniqueness else ""),
                sql.SQL("concurrently" if concurrently else ""),
                sql.Identifier(index),
                sql.Identifier(schema, table),
                sql.SQL(cast("LiteralString", shape)),
            )
        )


def drop_spare_indexes(connection: psycopg.Connection, parent: str, month: date | None = None) -> None:
    """Drop the indexes of a month (or of all months) that the parent does not have."""
    spare = connection.execute(
        """
        select own.indexrelid::regclass::text
        from pg_inherits as part
        inner join pg_index as own on own.indrelid = part.inhrelid
        inner join pg_class as c on c.oid = part.inhrelid
        where
            part.inhparent = %s::regclass and (%s::text is null or c.relname = %s)
            and not exists (select from pg_inherits as attached where attached.inhrelid = own.indexrelid)
        """,
        [parent, month and table_name(month), month and table_name(month)],
    ).fetchall()
    for (index,) in spare:
        connection.execute(sql.SQL("drop index concurrently if exists {}").format(sql.SQL(index)))
