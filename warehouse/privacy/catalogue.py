"""What the database holds: tables and their columns, asked of the catalogue, since models come and go."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg


def columns_of(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    """Names and types of a table's columns; empty when there is no such table."""
    return tables_of(connection, [schema]).get((schema, table), {})


def tables_of(connection: psycopg.Connection, schemas: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Every table of these schemas, partitions aside, with the names and types of its columns."""
    rows = connection.execute(
        """
        select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where n.nspname = any(%s) and c.relkind in ('r', 'p') and not c.relispartition
        order by 1, 2, a.attnum
        """,
        [list(schemas)],
    )
    found: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, kind in rows:
        found.setdefault((schema, table), {})[column] = kind
    return found
