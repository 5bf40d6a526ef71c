"""Indexes that a migration adds to a partitioned table, built one partition at a time without blocking writers.

Postgres cannot build an index of a partitioned table concurrently. So a migration says `create index … on only
public.events`, which creates an invalid index on the parent in a moment; here the index of each partition is built
concurrently and attached. Attaching the last one makes the parent's index valid. After a kill the next run continues.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from warehouse.kit import locks
from warehouse.kit.queries import read_query

UNBUILT: LiteralString = read_query(Path(__file__).parent / "sql", "unbuilt_partition_indexes")
"""Lists what is missing: `index_name, drop_statement, build_statement, attach_statement`."""


def complete_indexes(connection: psycopg.Connection) -> list[str]:
    """Build and attach the missing parts of partitioned indexes.

    Args:
        connection: The owner's, in autocommit mode, past a pooler.

    Returns:
        The indexes that are valid now and were not before, with their schemas.
    """
    completed: dict[str, None] = {}
    for index, *statements in connection.execute(UNBUILT).fetchall():
        # names and definitions come from the catalogue, quoted by format()
        drop, build, attach = (text and sql.SQL(cast("LiteralString", text)) for text in statements)
        for statement in (drop, build):
            if statement:
                connection.execute(statement)
        locks.retried(partial(_in_a_moment, connection, attach))
        completed[index] = None
    return list(completed)


def _in_a_moment(connection: psycopg.Connection, statement: sql.SQL, lock_timeout: str) -> None:
    with connection.transaction():
        connection.execute(sql.SQL("set local lock_timeout = {}").format(lock_timeout))
        connection.execute(statement)
