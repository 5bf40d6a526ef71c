"""Indexes that a migration adds to a partitioned table, built month by month while everybody writes.

Postgres builds no index of a partitioned table concurrently. So a migration says `create index … on only
public.events`, which takes a moment and leaves an index without parts, invalid; here each part is built concurrently
and attached. The last one makes the index valid. Killed anywhere, the next run finds what is missing.
"""

from __future__ import annotations

import re
from functools import partial
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from warehouse import locks

_INCOMPLETE: LiteralString = """
    select i.indexrelid::regclass::text, c.relname, i.indrelid::oid, pg_get_indexdef(i.indexrelid)
    from pg_index as i
    inner join pg_class as c on c.oid = i.indexrelid
    where c.relkind = 'I' and not i.indisvalid
    order by 1
"""
_PARTS_WITHOUT: LiteralString = """
    select n.nspname, c.relname
    from pg_inherits as h
    inner join pg_class as c on c.oid = h.inhrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    where
        h.inhparent = %(table)s
        and not exists (
            select from pg_inherits as attached
            inner join pg_index as i on i.indexrelid = attached.inhrelid
            where attached.inhparent = %(index)s::regclass and i.indrelid = c.oid
        )
    order by 1, 2
"""
_IS_VALID: LiteralString = "select i.indisvalid from pg_index as i where i.indexrelid = to_regclass(%s)"
_HEAD = re.compile(r"^CREATE (UNIQUE )?INDEX \S+ ON (?:ONLY )?\S+ USING")


def complete_indexes(connection: psycopg.Connection) -> list[str]:
    """Build what indexes of partitioned tables lack.

    Args:
        connection: The owner's, in autocommit mode, past a pooler.

    Returns:
        The indexes that were made whole, with their schemas.
    """
    incomplete = connection.execute(_INCOMPLETE).fetchall()
    for index, name, table, definition in incomplete:
        for schema, part in connection.execute(_PARTS_WITHOUT, {"table": table, "index": index}).fetchall():
            part_index = f"{part}_{name}"[:63]
            _build(connection, schema, part, part_index, definition)
            # the name comes from the catalogue, quoted where it has to be
            attach = sql.SQL("alter index {} attach partition {}").format(
                sql.SQL(cast("LiteralString", index)), sql.Identifier(schema, part_index)
            )
            locks.retried(partial(_in_a_moment, connection, attach))
    return [row[0] for row in incomplete]


def _in_a_moment(connection: psycopg.Connection, statement: sql.Composed, lock_timeout: str) -> None:
    with connection.transaction():
        connection.execute(sql.SQL("set local lock_timeout = {}").format(lock_timeout))
        connection.execute(statement)


def _build(connection: psycopg.Connection, schema: str, part: str, name: str, definition: str) -> None:
    index = sql.Identifier(schema, name)
    row = connection.execute(_IS_VALID, [index.as_string(connection)]).fetchone()
    if row == (True,):
        return
    if row is not None:
        # what a build that was cut short leaves
        connection.execute(sql.SQL("drop index concurrently {}").format(index))
    body = cast("LiteralString", _HEAD.sub("", definition, count=1))
    unique = "unique " if definition.startswith("CREATE UNIQUE") else ""
    connection.execute(
        sql.SQL("create {}index concurrently {} on {} using {}").format(
            sql.SQL(unique), sql.Identifier(name), sql.Identifier(schema, part), sql.SQL(body)
        )
    )
