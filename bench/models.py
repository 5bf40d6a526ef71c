"""Measure the dbt models: a full build, hourly incremental builds on a small and a large database, dashboard queries.

`python -m bench.models` starts its own embedded Postgres. For each size it stores 50,000 events per day
(`sql/models_events.sql`) and runs a full build. It then adds 2,100 events, the events of one hour, and runs an
incremental build; this is repeated five times. The first hour warms the caches. The result for each model is the
median of the next three hours. In the fifth hour, 50 visitors are also merged with 50 others; rows rewritten because of
the merges are reported separately. Times are measured by dbt, rewritten rows by Postgres. 18 million events need 50 GB
of disk and almost an hour; `--sizes 150000 1500000` needs five minutes.
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
from tests.embedded import migrated_database, running_postgres
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"
QUERIES = SQL_DIR / "dashboard"
END = datetime(2026, 11, 1, tzinfo=UTC)
LOADED_AT = END - timedelta(days=1)
EVENTS_A_DAY = 50_000
EVENTS_A_VISITOR = 13.5
# Number of visitors that are merged with others, by hour.
MERGES = (0, 0, 0, 0, 50)
CHUNK = 50_000
SPANS = {"7 days": 7, "30 days": 30, "90 days": 90, "a year": 365}
# The hourly schedule excludes these models; they are built at night.
HOURLY = ["--exclude", "tag:daily"]
MODELS = ["build", "--exclude-resource-type", "unit_test", "--exclude-resource-type", "test"]


@dataclass
class Build:
    """One dbt run.

    Attributes:
        seconds: Run time of each model, measured by dbt.
        rewritten: Number of rows inserted, updated or deleted, by model.
        memory_mb: Peak memory of all Postgres processes; shared pages are counted once.
        elapsed: Seconds from the start of the first model to the end of the last; dbt builds two at a time.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    rewritten: dict[str, int] = field(default_factory=dict)
    memory_mb: float = 0
    elapsed: float = 0

    @property
    def total(self) -> float:
        """Sum of the run times of all models, in seconds."""
        return sum(self.seconds.values())


@dataclass
class Measured:
    """The results for one database size.

    Attributes:
        events: Number of events stored before the full build.
        full: The full build.
        hour: An incremental build without merges.
        merging_hour: An incremental build with merges.
        event_bytes: Size of the events, with indexes.
        mart_bytes: Size of the schema `marts`, with indexes.
        intermediate_bytes: Size of the schema `intermediate`, with indexes.
    """

    events: int
    full: Build
    hour: Build
    merging_hour: Build
    event_bytes: int
    mart_bytes: int
    intermediate_bytes: int

    def rewritten_by_merges(self, model: str) -> int:
        """Return how many more rows of a model the hour with merges rewrote than an hour without."""
        return self.merging_hour.rewritten.get(model, 0) - self.hour.rewritten.get(model, 0)


def main() -> None:
    """Measure, print the figures, and write them as JSON to `--output` if given."""
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_500_000, 18_000_000], help="numbers of stored events"
    )
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="bench-models-") as folder,
        running_postgres(Path(folder) / "data", 55500, secrets.token_hex(8)) as server,
    ):
        measured = [_measure(server, size, Path(folder), console) for size in options.sizes]
        queries = _time_queries(server.url(f"events_{options.sizes[-1]}"))
    _print(measured, queries, console)
    if options.output:
        options.output.write_text(json.dumps(_as_json(measured, queries), indent=2))


def _measure(server: EmbeddedPostgres, events: int, folder: Path, console: Console) -> Measured:
    database = f"events_{events}"
    url = migrated_database(server, database)
    with connect(url) as connection:
        store_events(connection, events, console)
        target = folder / database
        console.print(f"{events:,} events: full build …")
        full = _build(connection, url, target, [*MODELS, "--full-refresh"])
        connection.execute("vacuum analyze")
        hours: list[Build] = []
        for hour, merges in enumerate(MERGES):
            console.print(f"{events:,} events: hour {hour + 1} …")
            connection.execute(read_query(SQL_DIR, "models_increment"), {"end": END, "hour": hour, "merges": merges})
            hours.append(_build(connection, url, target, [*MODELS, *HOURLY]))
        sizes = [_bytes(connection, schema) for schema in ("public", "marts", "intermediate")]
        return Measured(events, full, _median(hours[1:-1]), hours[-1], *sizes)


def store_events(connection: psycopg.Connection, events: int, console: Console, end: datetime = END) -> None:
    """Store events of whole days before `end`, in pieces, and print how far it is."""
    days = max(events // EVENTS_A_DAY, 30)
    start = end - timedelta(days=days)
    month = start.date().replace(day=1)
    while month <= end.date():
        connection.execute("select ops.make_month(%s)", [month])
        month = (month + timedelta(days=32)).replace(day=1)
    connection.execute(
        "insert into public.sites (site_id, name, domains, timezone, public_key)"
        " values ('shop', 'Shop', '{shop.example}', 'Europe/Moscow', 'bench')"
    )
    # skip the trigger that counts events in public.sessions: the benchmark does not measure it
    connection.execute("alter table public.events disable trigger user")
    connection.execute("select setseed(0.5)")
    visitors = int(events / EVENTS_A_VISITOR)
    began = time.monotonic()
    for first in range(1, visitors + 1, CHUNK):
        last = min(first + CHUNK - 1, visitors)
        connection.execute(
            read_query(SQL_DIR, "models_events"),
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
    """Return the last build, with its times replaced by the medians over all builds."""
    return replace(
        builds[-1],
        seconds={name: statistics.median(one.seconds[name] for one in builds) for name in builds[-1].seconds},
        elapsed=statistics.median(one.elapsed for one in builds),
    )


def _written(connection: psycopg.Connection) -> dict[str, int]:
    """Return the number of rows written so far, by table of the models.

    Postgres updates these counters at the latest when a session ends, so the numbers are complete after a dbt run.
    """
    return dict(
        connection.execute(
            "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_all_tables"
            " where schemaname in ('intermediate', 'marts')"
        ).fetchall()
    )


@contextmanager
def _watched_memory(connection: psycopg.Connection) -> Generator[list[float]]:
    """Yield a list with one number: the peak memory of the Postgres processes in MB, updated while the block runs."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    postmaster = psutil.Process(row[0]).parent()
    assert postmaster is not None
    most = [0.0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(3):  # a short interval would slow down the build: reading shared memory usage is expensive
            held = 0
            for process in [postmaster, *postmaster.children()]:
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:  # the process has ended, or may not be inspected
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
    """Return the size of a schema's tables with their indexes, in bytes."""
    row = connection.execute(
        "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class as c"
        " where c.relnamespace = %s::regnamespace and c.relkind = 'r'",
        [schema],
    ).fetchone()
    assert row is not None
    return row[0]


def _time_queries(url: str) -> dict[str, dict[str, float]]:
    """Return the time of each dashboard query in milliseconds, by period: the median of three runs after a warm-up."""
    times: dict[str, dict[str, float]] = {}
    # query with the dashboard's role, which can read only the schemas marts and ml
    with connect(url) as connection:
        connection.execute(read_query(SQL_DIR, "models_scores"), {"last": END})
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
    table = Table(title="Run time in dbt by model, seconds", title_justify="left")
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
            for value in (f"{one.hour.seconds[name]:.2f}" if name in one.hour.seconds else "nightly",
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
            f"{one.events:,} events: full build {one.full.elapsed:.0f} s from start to end; peak memory"
            f" {one.full.memory_mb:.0f} MB in the full build,"
            f" {one.hour.memory_mb:.0f} MB in the hour ({one.merging_hour.total:.2f} s in dbt with merges);"
            f" marts {one.mart_bytes / one.event_bytes:.2f} and intermediate"
            f" {one.intermediate_bytes / one.event_bytes:.2f} bytes per byte of events"
        )
    if len(measured) > 1:
        ratio = measured[-1].hour.total / measured[0].hour.total
        console.print(f"Hourly build, largest size compared with the smallest: {ratio:.2f} times the time")
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
