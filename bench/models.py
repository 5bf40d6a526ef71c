"""What models cost: a full build, the hour after it on little and on much that is stored, and the dashboard's queries.

`python -m bench.models` starts an embedded Postgres of its own and, on each size asked for, stores events of 50,000 a
day (`models_events.sql`), builds everything, adds an hour's 2,100 events five times and builds again each time. The
first hour has the caches to fill; of the next three the median counts, model by model. The last also joins 50 visitors
with 50 others; what it rewrites beyond the one before is told apart. Times are dbt's; rows rewritten are Postgres's
counters. 18 million events want 50 GB of disk and most of an hour; `--sizes 150000 1500000` does with five minutes.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from tests.dbt.dbt_project import run_dbt
from warehouse import migrations
from warehouse.database import connect
from warehouse.embedded_postgres import EmbeddedPostgres
from warehouse.queries import read_query

HERE = Path(__file__).parent
QUERIES = HERE / "dashboard_queries"
END = datetime(2026, 11, 1, tzinfo=UTC)
LOADED_AT = END - timedelta(days=1)
EVENTS_A_DAY = 50_000
EVENTS_A_VISITOR = 13.5
# Visitors that join others in each of the hours.
MERGES = (0, 0, 0, 0, 50)
CHUNK = 50_000
SPANS = {"7 days": 7, "30 days": 30, "90 days": 90, "a year": 365}
# What the hourly schedule leaves to the night.
HOURLY = ["--exclude", "tag:daily"]
MODELS = ["build", "--exclude-resource-type", "unit_test", "--exclude-resource-type", "test"]


@dataclass
class Build:
    """One dbt run.

    Attributes:
        seconds: By model, as dbt measured it.
        rewritten: Rows inserted, updated or deleted, by model.
        memory_mb: Most that all server processes held together, shared pages once.
        elapsed: Seconds from dbt's first model to its last; two are built at a time.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    rewritten: dict[str, int] = field(default_factory=dict)
    memory_mb: float = 0
    elapsed: float = 0

    @property
    def total(self) -> float:
        """Seconds of all models."""
        return sum(self.seconds.values())


@dataclass
class Measured:
    """What one size gave."""

    events: int
    full: Build
    hour: Build
    merging_hour: Build
    event_bytes: int
    mart_bytes: int
    intermediate_bytes: int

    def rewritten_by_merges(self, model: str) -> int:
        """Rows of a model that the merging hour wrote beyond the plain one."""
        return self.merging_hour.rewritten.get(model, 0) - self.hour.rewritten.get(model, 0)


def main() -> None:
    """Measure, print, and keep the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_500_000, 18_000_000], help="events stored")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="bench-models-") as folder:
        server = EmbeddedPostgres(Path(folder) / "data", password=secrets.token_hex(8))
        server.start(55500, or_next_free=True)
        try:
            measured = [_measure(server, size, Path(folder), console) for size in options.sizes]
            queries = _time_queries(server.url(f"events_{options.sizes[-1]}"))
        finally:
            server.remove()
    _print(measured, queries, console)
    if options.output:
        options.output.write_text(json.dumps(_as_json(measured, queries), indent=2))


def _measure(server: EmbeddedPostgres, events: int, folder: Path, console: Console) -> Measured:
    database = f"events_{events}"
    server.ensure_database(database)
    url = server.url(database)
    migrations.migrate(url)
    with connect(url) as connection:
        _store(connection, events, console)
        target = folder / database
        console.print(f"{events:,} events: full build …")
        full = _build(connection, url, target, [*MODELS, "--full-refresh"])
        connection.execute("vacuum analyze")
        hours: list[Build] = []
        for hour, merges in enumerate(MERGES):
            console.print(f"{events:,} events: hour {hour + 1} …")
            connection.execute(read_query(HERE, "models_increment"), {"end": END, "hour": hour, "merges": merges})
            hours.append(_build(connection, url, target, [*MODELS, *HOURLY]))
        sizes = [_bytes(connection, schema) for schema in ("public", "marts", "intermediate")]
        return Measured(events, full, _median(hours[1:-1]), hours[-1], *sizes)


def _store(connection: psycopg.Connection, events: int, console: Console) -> None:
    """Events of whole days up to END, in pieces, so that it shows how far it is."""
    days = max(events // EVENTS_A_DAY, 30)
    start = END - timedelta(days=days)
    month = start.date().replace(day=1)
    while month <= END.date():
        connection.execute("select ops.make_month(%s)", [month])
        month = (month + timedelta(days=32)).replace(day=1)
    connection.execute(
        "insert into public.sites (site_id, name, domains, timezone, public_key)"
        " values ('shop', 'Shop', '{shop.example}', 'Europe/Moscow', 'bench')"
    )
    # counters of public.sessions are no part of what is measured
    connection.execute("alter table public.events disable trigger user")
    connection.execute("select setseed(0.5)")
    visitors = int(events / EVENTS_A_VISITOR)
    began = time.monotonic()
    for first in range(1, visitors + 1, CHUNK):
        last = min(first + CHUNK - 1, visitors)
        connection.execute(
            read_query(HERE, "models_events"),
            {"first": first, "last": last, "start": start, "days": days, "loaded_at": LOADED_AT},
        )
        console.print(f"{events:,} events: {last / visitors:.0%} stored, {time.monotonic() - began:.0f} s")
    connection.execute("alter table public.events enable trigger user")
    connection.execute("vacuum analyze public.events")


def _build(connection: psycopg.Connection, url: str, target: Path, arguments: list[str]) -> Build:
    before = _written(connection)
    with _watched_memory(connection) as most:
        run_dbt(url, target, *arguments)
    results: dict[str, Any] = json.loads((target / "run_results.json").read_text())
    after = _written(connection)
    return Build(
        {
            result["unique_id"].rsplit(".", 1)[-1]: result["execution_time"]
            for result in results["results"]
            if result["unique_id"].startswith("model.")
        },
        {name: rows - before.get(name, 0) for name, rows in after.items() if rows > before.get(name, 0)},
        most[0],
        results["elapsed_time"],
    )


def _median(builds: list[Build]) -> Build:
    """The last of them, with the median times of all."""
    return replace(
        builds[-1],
        seconds={name: statistics.median(one.seconds[name] for one in builds) for name in builds[-1].seconds},
        elapsed=statistics.median(one.elapsed for one in builds),
    )


def _written(connection: psycopg.Connection) -> dict[str, int]:
    """Rows written so far, by table of the models. A session reports its counts when it ends, at the latest."""
    return dict(
        connection.execute(
            "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_all_tables"
            " where schemaname in ('intermediate', 'marts')"
        ).fetchall()
    )


@contextmanager
def _watched_memory(connection: psycopg.Connection) -> Generator[list[float]]:
    """Yields a list whose one number becomes the most memory of the server's processes, in MB."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    postmaster = psutil.Process(row[0]).parent()
    assert postmaster is not None
    most = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(3):  # reading what each page is shared with takes a while itself
            held = 0
            for process in [postmaster, *postmaster.children()]:
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:  # it has ended, or is not ours to see
                    continue
            most[0] = max(most[0], held / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _bytes(connection: psycopg.Connection, schema: str) -> int:
    """Size of a schema's tables with their indexes."""
    row = connection.execute(
        "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class as c"
        " where c.relnamespace = %s::regnamespace and c.relkind = 'r'",
        [schema],
    ).fetchone()
    assert row is not None
    return row[0]


def _time_queries(url: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each dashboard query, by span: the median of three after one that warms up."""
    times: dict[str, dict[str, float]] = {}
    # as the dashboard reads: with the login that can read marts and ml alone
    with connect(url) as connection:
        connection.execute(read_query(HERE, "models_scores"), {"last": END})
        connection.execute("vacuum analyze")
        connection.execute("set role analyst")
        for path in sorted(QUERIES.glob("*.sql")):
            times[path.stem] = {}
            for span, days in SPANS.items():
                values = {"site": "shop", "first": END.date() - timedelta(days=days), "last": END.date()}
                taken = [_milliseconds(connection, path.stem, values) for _ in range(4)]
                times[path.stem][span] = statistics.median(taken[1:])
    return times


def _milliseconds(connection: psycopg.Connection, name: str, values: dict[str, str | date]) -> float:
    began = time.perf_counter()
    connection.execute(read_query(QUERIES, name), values).fetchall()
    return (time.perf_counter() - began) * 1000


def _print(measured: list[Measured], queries: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title="Seconds of dbt, model by model", title_justify="left")
    table.add_column("model")
    for one in measured:
        table.add_column(f"full, {one.events:,}", justify="right")
    for one in measured:
        table.add_column(f"hour, {one.events:,}", justify="right")
        table.add_column("rows rewritten", justify="right")
        table.add_column(f"by {MERGES[-1]} merges", justify="right")
    for name in measured[0].full.seconds:
        hours = [
            value
            for one in measured
            for value in (f"{one.hour.seconds[name]:.2f}" if name in one.hour.seconds else "by night",
                          f"{one.hour.rewritten.get(name, 0):,}", f"{one.rewritten_by_merges(name):+,}")
        ]  # fmt: skip
        table.add_row(name, *(f"{one.full.seconds[name]:.2f}" for one in measured), *hours)
    totals = [
        value
        for one in measured
        for value in (f"{one.hour.total:.2f}", f"{sum(one.hour.rewritten.values()):,}",
                      f"{sum(map(one.rewritten_by_merges, one.full.seconds)):+,}")
    ]  # fmt: skip
    table.add_section()
    table.add_row("all", *(f"{one.full.total:.2f}" for one in measured), *totals)
    console.print(table)
    for one in measured:
        console.print(
            f"{one.events:,} events: full build {one.full.elapsed:.0f} s from beginning to end; memory at most"
            f" {one.full.memory_mb:.0f} MB in the full build,"
            f" {one.hour.memory_mb:.0f} MB in the hour (with merges {one.merging_hour.total:.2f} s of dbt);"
            f" marts {one.mart_bytes / one.event_bytes:.2f} and intermediate"
            f" {one.intermediate_bytes / one.event_bytes:.2f} bytes for each byte of events"
        )
    if len(measured) > 1:
        ratio = measured[-1].hour.total / measured[0].hour.total
        console.print(f"The hour on the most against the least stored: {ratio:.2f} times")
    timed = Table(title=f"Dashboard queries on {measured[-1].events:,} events, milliseconds", title_justify="left")
    timed.add_column("query")
    for span in SPANS:
        timed.add_column(span, justify="right")
    for name, spans in queries.items():
        timed.add_row(name, *(f"{spans[span]:.1f}" for span in SPANS))
    console.print(timed)


def _as_json(measured: list[Measured], queries: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {"sizes": [asdict(one) for one in measured], "queries_ms": queries}


if __name__ == "__main__":
    main()
