"""Read tables and columns from the database catalog, because the models may change."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg


def columns_of(connection: psycopg.Connection, schema: str, table: str) -> dict[str, str]:
    """Return the types of the columns of a table or view by name; empty if it does not exist."""
    return _relations(connection, [schema], ["r", "p", "v"]).get((schema, table), {})


def tables_of(connection: psycopg.Connection, schemas: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Return the columns (type by name) of all tables in these schemas, without partitions and views."""
    return _relations(connection, schemas, ["r", "p"])


def _relations(
    connection: psycopg.Connection, schemas: Sequence[str], kinds: Sequence[str]
) -> dict[tuple[str, str], dict[str, str]]:
    rows = connection.execute(
        """
        select n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
        from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where n.nspname = any(%s) and c.relkind = any(%s::"char"[]) and not c.relispartition
        order by 1, 2, a.attnum
        """,
        [list(schemas), list(kinds)],
    )
    found: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, kind in rows:
        found.setdefault((schema, table), {})[column] = kind
    return found
