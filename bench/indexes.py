"""Measure the cost of each index: bytes per row, and CPU time in microseconds per inserted event.

`python -m bench.indexes` starts its own embedded Postgres. The sizes are those after 300,000 events were landed. For
the time, the script stores 1.5 million events of the last 30 days with their visitors and sessions. It then lands
40,000 more events repeatedly, in a transaction that is rolled back: with all indexes, and directly afterwards without
one of them. The cost of an index is the median difference in CPU time of the server process, with half the
interquartile range. The table in `sql/README.md` contains these results.
"""

from __future__ import annotations

import argparse
import random
import secrets
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import msgspec
import psutil
import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from bench.ingest import sample_rows
from bench.models import store_events
from tests.embedded import migrated_database, running_postgres
from warehouse.events.landing import LAND
from warehouse.kit.database import connect
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"
LANDED = 300_000
BATCHES, BATCH = 80, 500
EVENTS_A_SESSION = 5
_MERGE_PENDING: LiteralString = """
    select sum(gin_clean_pending_list(i.indexrelid))
    from pg_index as i
    inner join pg_class as c on i.indexrelid = c.oid
    inner join pg_am as a on c.relam = a.oid
    where a.amname = 'gin' and c.relkind = 'i'
"""
"""Merges the pending lists of GIN indexes: the cost of an insert includes this deferred work."""
TABLES = ("public.events", "public.sessions", "public.users")


def main() -> None:
    """Measure all indexes and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.indexes", description=__doc__)
    parser.add_argument("--events", type=int, default=1_500_000, help="number of stored events")
    parser.add_argument("--rounds", type=int, default=15, help="number of measurements of each index")
    options = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="bench-indexes-") as folder,
        running_postgres(Path(folder) / "data", 55500, secrets.token_hex(8)) as server,
    ):
        with connect(migrated_database(server, "sizes")) as connection:
            for batch in _batches(LANDED // BATCH):
                connection.execute(LAND, [batch])
            connection.execute("vacuum analyze")
            sizes = _bytes_per_row(connection)
        with connect(migrated_database(server, "costs")) as connection:
            store_events(connection, options.events, console, end=datetime.now(UTC))
            connection.execute(read_query(SQL_DIR, "indexes_counters"))
            connection.execute("vacuum analyze")
            costs, total = _costs(connection, list(sizes), options.rounds)
    table = Table("index", "bytes per row", "µs per event", title=f"CPU time to land an event: {total:.1f} µs")
    for name, size in sizes.items():
        table.add_row(name, f"{size:.1f}", "{:.1f} ± {:.1f}".format(*costs[name]) if name in costs else "-")
    console.print(table)


def _batches(number: int) -> Iterator[str]:
    """Yield `number` batches of events of the last minute, as JSON for `land_events`."""
    encode = msgspec.json.Encoder().encode
    for _ in range(number):
        rows, now = sample_rows(BATCH), datetime.now(UTC)
        for place, row in enumerate(rows):
            row.session_id = rows[place - 1].session_id if place % EVENTS_A_SESSION else uuid4()
            row.client_created_at = now - timedelta(seconds=random.uniform(0, 60))
            if place % 25 == 24:
                row.event_type = "signup"
        for row in rows[::50]:
            row.session_id = None
        yield encode(rows).decode()


def _bytes_per_row(connection: psycopg.Connection) -> dict[str, float]:
    """Return the size of each index with all its partitions, in bytes per row, by name."""
    return dict(
        connection.execute(
            """
            with parts as (
                select i.indexrelid as index, p.relid as part
                from pg_index as i
                cross join lateral (
                    select i.indexrelid union select relid from pg_partition_tree(i.indexrelid)
                ) as p (relid)
                where i.indrelid = any(%s::regclass[])
            )

            select
                parts.index::regclass::text,
                sum(pg_relation_size(parts.part)) / sum(c.reltuples) filter (where c.reltuples > 0)
            from parts
            inner join pg_index as own on parts.part = own.indexrelid
            inner join pg_class as c on own.indrelid = c.oid and c.relkind = 'r'
            group by parts.index
            order by min(own.indrelid::bigint), parts.index
            """,
            [list(TABLES)],
        ).fetchall()
    )


def _costs(
    connection: psycopg.Connection, indexes: list[str], rounds: int
) -> tuple[dict[str, tuple[float, float]], float]:
    """Measure the cost of each index.

    Indexes of constraints are omitted: landing requires them.

    Returns:
        For each index, its cost in microseconds per event and half the interquartile range; and the median CPU time to
        land an event with all indexes, in microseconds.
    """
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    process: int = row[0]
    needed = {name for (name,) in connection.execute("select conindid::regclass::text from pg_constraint")}
    tried = [name for name in indexes if name not in needed]
    with_all: list[float] = []
    differences: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(rounds):
        for name, found in differences.items():
            with_all.append(_land(connection, process, None))
            found.append(with_all[-1] - _land(connection, process, name))
        connection.execute("vacuum")
    return {name: _spread(found) for name, found in differences.items()}, statistics.median(with_all)


def _spread(values: list[float]) -> tuple[float, float]:
    """Return the median and half the interquartile range."""
    first, median, third = statistics.quantiles(values, n=4)
    return median, (third - first) / 2


def _land(connection: psycopg.Connection, process: int, without: str | None) -> float:
    """Land events without one index, roll back, and return the CPU time of the server in microseconds per event."""
    batches = list(_batches(BATCHES))
    with connection.transaction(force_rollback=True):
        if without is not None:
            connection.execute(sql.SQL("drop index {}").format(sql.Identifier(*without.split("."))))
        before = _cpu_seconds(process)
        for batch in batches:
            connection.execute(LAND, [batch])
        connection.execute(_MERGE_PENDING)
        spent = _cpu_seconds(process) - before
    return 1e6 * spent / (BATCHES * BATCH)


def _cpu_seconds(process: int) -> float:
    """Return the CPU time of a process in seconds, on Linux with nanosecond resolution."""
    exact = Path(f"/proc/{process}/schedstat")
    if exact.exists():
        return int(exact.read_text().split()[0]) / 1e9
    return sum(psutil.Process(process).cpu_times()[:2])


if __name__ == "__main__":
    main()
