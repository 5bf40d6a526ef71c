"""Indexes that a migration adds to a partitioned table, built one partition at a time without blocking writers.

Postgres cannot build an index of a partitioned table concurrently. A migration therefore runs `create index … on only
public.events`, which quickly creates an invalid index on the parent. This module builds each partition's index
concurrently and attaches it; the last one makes the parent's index valid. After a kill, the next run continues.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from warehouse.kit import locks
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"
UNBUILT: LiteralString = read_query(SQL_DIR, "unbuilt_partition_indexes")
"""Lists missing indexes of partitions: `index_name, drop_statement, build_statement, attach_statement`."""


def complete_indexes(connection: psycopg.Connection) -> list[str]:
    """Build and attach the missing parts of partitioned indexes.

    Args:
        connection: With the owner's login, in autocommit mode, not through a pooler.

    Returns:
        The names, with schemas, of the indexes that became valid.
    """
    completed: dict[str, None] = {}
    for index, *statements in connection.execute(UNBUILT).fetchall():
        # The statements come from the catalogue; format() quotes the names in them.
        drop, build, attach = (text and sql.SQL(cast("LiteralString", text)) for text in statements)
        for statement in (drop, build):
            if statement:
                connection.execute(statement)
        locks.retried(partial(_execute_with_timeout, connection, attach))
        completed[index] = None
    return list(completed)


def _execute_with_timeout(connection: psycopg.Connection, statement: sql.SQL, lock_timeout: str) -> None:
    with connection.transaction():
        connection.execute(sql.SQL("set local lock_timeout = {}").format(lock_timeout))
        connection.execute(statement)
