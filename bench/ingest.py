"""Measure ingest throughput: the HTTP API compared with the database alone, in one run on one machine.

`python -m bench.ingest` starts its own embedded Postgres (durable, with all indexes, policies, triggers) and measures:

1. `land_events` called directly, in batches of 500 on one connection,
2. the ingest API with rate limits and validation active, in batches of 10 and of 1, at saturation and at half load,
3. a minimal endpoint that runs one INSERT per request.

Events are counted in the table, not in responses. wrk generates the load. The script prints events per second, response
times in milliseconds, memory in MiB and CPU time in microseconds per event; `--json` prints the figures by name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from bench.api_fixture import api_and_postgres
from tests.batches import read_batch
from tests.ingest_server import IngestServer
from warehouse.events.enrichment import make_row
from warehouse.events.landing import LAND
from warehouse.events.schema import Limits, Row
from warehouse.kit.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.kit.errors import UserError
from warehouse.kit.ports import free_port

AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
SCRIPT = Path(__file__).with_name("events.lua")
DATABASE_BATCH = 500
CONNECTIONS = 64
# Rate limits are so high that no request is rejected, but their cost is measured: all load comes from one IP address.
HIGH_LIMITS = {"RATE_LIMIT_PER_IP": "2000000000/5 minutes", "RATE_LIMIT_PER_SITE": "2000000000/5 minutes"}


@dataclass
class Load:
    """The result of one load test.

    Attributes:
        events_per_second: Events stored in the table per second.
        p50: Median response time in milliseconds.
        p99: 99th percentile of the response time in milliseconds.
        errors: Number of responses other than 2xx, and of requests without a response.
        memory_mb: Peak resident memory of the API and its workers, in MiB.
        api_cpu: CPU time of the API and its workers per event, in microseconds.
        postgres_cpu: CPU time of all Postgres processes per event, in microseconds.
    """

    events_per_second: float
    p50: float
    p99: float
    errors: int
    memory_mb: float
    api_cpu: float
    postgres_cpu: float


def wrk_program() -> str:
    """Return the path of wrk, the load generator.

    Raises:
        UserError: wrk is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise UserError("The benchmark requires wrk.", "Install it: apt-get install wrk (or brew install wrk).")
    return found


def sample_events(count: int) -> bytes:
    """Return the request body of a batch with `count` events like those of `events.lua`."""
    session, visitor, view = str(uuid4()), f"v-{random.randrange(200_000)}", str(uuid4())
    now = datetime.now(UTC).isoformat()
    kinds: list[tuple[str, dict[str, object]]] = [
        ("page_view", {"viewport": {"width": 1280, "height": 720}, "page": {"width": 1280, "height": 5400}}),
        ("scroll", {"scroll": {"scrollPercent": 50}, "viewport": {"width": 1280, "height": 720}}),
        ("click", {"click": {"x": 412, "y": 1733, "button": 0}}),
        ("page_leave", {"timing": {"timeOnPage": 34.2, "engagedTime": 21.7}, "scroll": {"scrollPercent": 75}}),
    ]
    events: list[dict[str, object]] = []
    for number in range(count):
        if number % 50 == 0:
            session, visitor = str(uuid4()), f"v-{random.randrange(200_000)}"
        if number % 4 == 0:
            view = str(uuid4())
        kind, payload = kinds[number % 4]
        event: dict[str, object] = {
            "event_id": str(uuid4()),
            "event_type": kind,
            "created_at": now,
            "session_id": session,
            "user_id": visitor,
            "page_url": f"https://shop.example/catalogue/{number % 97}?utm_source=newsletter&utm_medium=email",
            "page_title": "Catalogue",
            "referrer": "https://search.example/",
            "payload": {"page_view_id": view} | payload,
        }
        if kind == "click":
            event |= {"target_element": "#rec123 a.t-btn", "target_text": "Buy"}
        events.append(event)
    return json.dumps({"sent_at": now, "events": events}).encode()


def sample_rows(count: int) -> list[Row]:
    """Return the rows that the API would make from `sample_events(count)`."""
    now = datetime.now(UTC)
    return [
        make_row(
            event,
            site_id="shop",
            source="api",
            address="127.0.0.1",
            user_agent=AGENT,
            sent_at=now,
            arrived_at=now,
        )
        for event in read_batch(sample_events(count), Limits(max_events=count)).events
    ]


def measure_land_events(server: IngestServer, seconds: float) -> tuple[float, float]:
    """Measure `land_events` alone: batches of rows in memory, one connection, the login of the API.

    Returns:
        Events per second, and CPU time of Postgres per event in microseconds.
    """
    encode = msgspec.json.Encoder().encode
    url = replace_in_url(server.database_url, user=INGEST_LOGIN, password=server.secrets.ingest_password)
    landed, spent = 0, 0.0
    postgres = _postgres(server)
    cpu_before = _cpu(postgres)
    with connect(url) as connection:
        while spent < seconds:
            text = encode(sample_rows(DATABASE_BATCH)).decode()
            started = time.perf_counter()
            landed += len(connection.execute(LAND, [text]).fetchall())
            spent += time.perf_counter() - started
    return landed / spent, 1e6 * (_cpu(postgres) - cpu_before) / landed


def load(
    server: IngestServer, batch: int, seconds: float, rate: float | None = None, content_type: str = "text/plain"
) -> Load:
    """Run a load test of the API.

    Args:
        server: The API.
        batch: Events per request.
        seconds: Duration of the test.
        rate: Target rate in requests per second: connections pause between requests. None: as fast as possible.
        content_type: Content type of the requests.
    """
    pause = 0 if rate is None else round(1000 * CONNECTIONS / rate)
    before = server.count()
    memory = [_memory(server)]
    api_before, postgres_before = _cpu(_api(server)), _cpu(_postgres(server))
    command = [wrk_program(), "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds:.0f}s", "--timeout", "30s"]
    command += [
        "-s",
        str(SCRIPT),
        server.events_url,
        "--",
        str(batch),
        str(pause),
        str(random.randrange(1, 0xFFFFFF)),
        content_type,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            memory.append(_memory(server))
            time.sleep(0.5)
        output = process.stdout.read() if process.stdout else ""
    [line] = [line for line in output.splitlines() if line.startswith("RESULT ")] or [output]
    result = json.loads(line.removeprefix("RESULT "))
    api, postgres = _cpu(_api(server)) - api_before, _cpu(_postgres(server)) - postgres_before
    events = server.count() - before
    return Load(
        events / result["seconds"],
        result["p50_ms"],
        result["p99_ms"],
        result["errors"],
        max(memory),
        1e6 * api / max(events, 1),
        1e6 * postgres / max(events, 1),
    )


def _api(server: IngestServer) -> psutil.Process:
    assert server.process is not None
    return psutil.Process(server.process.pid)


def _postgres(server: IngestServer) -> psutil.Process:
    """Return the Postgres server process, found as the parent of a backend; another user may run it."""
    with connect(server.database_url) as connection:
        found = connection.execute("select pg_backend_pid()").fetchone()
        assert found is not None
        parent = psutil.Process(found[0]).parent()
        assert parent is not None
        return parent


def _cpu(parent: psutil.Process) -> float:
    """Return the CPU seconds of a process and its children, including children that have ended."""
    total = 0.0
    for process in [parent, *parent.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if process == parent:
            total += times.children_user + times.children_system
    return total


def _memory(server: IngestServer) -> float:
    """Return the resident memory of the API and its workers, in MiB."""
    total = 0
    parent = _api(server)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def load_minimal_endpoint(server: IngestServer, seconds: float) -> Load:
    """Run the load test with batches of 10 against the minimal endpoint."""
    port = free_port(9400)
    url = replace_in_url(server.database_url, user=INGEST_LOGIN, password=server.secrets.ingest_password)
    command = [sys.executable, "-m", "uvicorn", "bench.minimal_endpoint:app", "--port", str(port), "--no-access-log"]
    command += ["--log-level", "warning", "--loop", "uvloop", "--http", "httptools"]
    process = subprocess.Popen(command, env=os.environ | {"DATABASE_URL": url})
    baseline = IngestServer(server.database_url, server.secrets, server.folder, port=port)
    baseline.process = process  # pyright: ignore[reportAttributeAccessIssue]
    try:
        baseline.wait_until_healthy()
        return load(baseline, 10, seconds, content_type="application/json")
    finally:
        process.terminate()
        process.wait(30)


def bytes_per_event(server: IngestServer) -> float:
    """Return the size of the table and all indexes, in bytes per event."""
    [(size,)] = server.rows(
        "select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'public.events'::regclass"
    )
    return float(size) / max(server.count(), 1)


def main() -> int:
    """Run all measurements and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=15, help="duration of each measurement")
    parser.add_argument(
        "--soak-minutes",
        type=float,
        default=0,
        help="duration of an additional load test that compares memory at its start and end",
    )
    parser.add_argument("--workers", type=int, default=1, help="number of API worker processes")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    try:
        wrk_program()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tilda-bench-") as place:
        settings = HIGH_LIMITS | {"INGEST_WORKERS": str(options.workers)}
        with api_and_postgres(Path(place), 55700, settings, ["shop.example"]) as (server, _):
            figures = measure(server, options.seconds, options.soak_minutes)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)
    return 0


def measure(server: IngestServer, seconds: float, soak_minutes: float) -> dict[str, float]:
    """Run all measurements and return the figures by name."""
    server.start()
    try:
        load(server, 10, 3)  # warm up
        before, cpu = measure_land_events(server, seconds)
        full = load(server, 10, seconds)
        half = load(server, 10, seconds, rate=full.events_per_second / 10 / 2)
        single = load(server, 1, seconds)
        after, _ = measure_land_events(server, seconds)
        # The table grows during the load tests, so the baseline is the mean of before and after.
        figures = {
            "land_events_per_second": (before + after) / 2,
            "land_events_postgres_cpu": cpu,
            "bytes_per_event": bytes_per_event(server),
        }
        for name, result in (("batches_of_10", full), ("batches_of_10_half_load", half), ("batches_of_1", single)):
            figures |= {f"{name}_{field}": value for field, value in vars(result).items()}
        if soak_minutes:
            samples = [load(server, 10, 60).memory_mb for _ in range(max(2, round(soak_minutes)))]
            figures |= {"soak_memory_first_mb": samples[0], "soak_memory_last_mb": samples[-1]}
    finally:
        server.stop()
    baseline = load_minimal_endpoint(server, seconds)
    figures |= {f"minimal_endpoint_{field}": value for field, value in vars(baseline).items()}
    figures["api_to_land_events"] = figures["batches_of_10_events_per_second"] / figures["land_events_per_second"]
    figures["minimal_endpoint_to_land_events"] = (
        figures["minimal_endpoint_events_per_second"] / figures["land_events_per_second"]
    )
    return figures


def show(figures: dict[str, float]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"Ingest, {os.cpu_count()} cores, load generator and Postgres on the same machine")
    for heading in (
        "measurement",
        "events/s",
        "of (1)",
        "p50 ms",
        "p99 ms",
        "errors",
        "API MB",
        "API µs",
        "Postgres µs",
    ):
        table.add_column(heading, justify="left" if heading == "measurement" else "right")
    base = figures["land_events_per_second"]
    table.add_row(
        "(1) land_events, batches of 500, one connection",
        f"{base:,.0f}",
        "1.00",
        "",
        "",
        "",
        "",
        "",
        f"{figures['land_events_postgres_cpu']:,.1f}",
    )
    for label, name in (
        ("(2) HTTP, batches of 10, saturated", "batches_of_10"),
        ("(2) HTTP, batches of 10, half load", "batches_of_10_half_load"),
        ("(2) HTTP, batches of 1, saturated", "batches_of_1"),
        ("(3) minimal endpoint, batches of 10", "minimal_endpoint"),
    ):
        speed = figures[f"{name}_events_per_second"]
        fields = ("p50", "p99", "errors", "memory_mb", "api_cpu", "postgres_cpu")
        rest = [figures[f"{name}_{field}"] for field in fields]
        table.add_row(label, f"{speed:,.0f}", f"{speed / base:.2f}", *(f"{value:,.1f}" for value in rest))
    console = Console()
    console.print(table)
    console.print("µs: CPU time per event; for Postgres, the sum of all its processes")
    console.print(f"{figures['bytes_per_event']:,.0f} bytes per event, table and all indexes")
    if "soak_memory_first_mb" in figures:
        first, last = figures["soak_memory_first_mb"], figures["soak_memory_last_mb"]
        console.print(f"memory under load: {first:,.0f} MB in the first minute, {last:,.0f} MB in the last")


if __name__ == "__main__":
    sys.exit(main())
