"""How fast events are taken: HTTP against the database alone, in one run on one machine.

`python -m bench.ingest` starts an embedded Postgres of its own (durable, with all indexes, policies and triggers) and:

1. calls `land_events` directly in batches of 500 on one connection,
2. loads the real ingest API with every defence on, in batches of 10 and of 1, at saturation and at half of it,
3. loads a plain endpoint that inserts once a request.

Events are counted in the table, not in answers. Load comes from wrk.
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

from bench.prepared import prepared
from tests.ingest_server import IngestServer
from warehouse.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.errors import UserError
from warehouse.events.enrichment import make_row
from warehouse.events.landing import LAND
from warehouse.events.schema import Limits, Row
from warehouse.events.validation import parse_batch
from warehouse.ports import free_port

AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
SCRIPT = Path(__file__).with_name("events.lua")
DIRECT_BATCH = 500
CONNECTIONS = 64
# Every limiter counts, none refuses: one machine stands for all visitors here.
OPEN_LIMITS = {"RATE_LIMIT_PER_IP": "2000000000/5 minutes", "RATE_LIMIT_PER_SITE": "2000000000/5 minutes"}


@dataclass
class Load:
    """What one load gave.

    Attributes:
        events_per_second: Counted in the table.
        p50: Milliseconds to an answer, as `p99`.
        errors: Answers other than 2xx, and none.
        memory_mb: Most that the API and its workers held.
        api_cpu: Microseconds of processor time an event; `postgres_cpu` the same of the server, all its processes.
    """

    events_per_second: float
    p50: float
    p99: float
    errors: int
    memory_mb: float
    api_cpu: float
    postgres_cpu: float


def wrk_program() -> str:
    """The load generator.

    Raises:
        UserError: It is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise UserError("The benchmark needs wrk.", "Install it: apt-get install wrk (or brew install wrk).")
    return found


def sample_events(count: int) -> bytes:
    """A batch like those of `events.lua`."""
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
    """The rows that the API would make of them."""
    batch = parse_batch(sample_events(count), Limits(max_events=count))
    rows = [
        make_row(event, site_id="shop", source="api", address="127.0.0.1", user_agent=AGENT) for event in batch.events
    ]
    now = datetime.now(UTC)
    for row in rows:
        row.sent_at, row.arrived_at = batch.sent_at, now
    return rows


def direct(server: IngestServer, seconds: float) -> tuple[float, float]:
    """`land_events` alone: prepared batches, one connection, the API's own login.

    Returns events a second, and microseconds of Postgres's processor time an event.
    """
    encode = msgspec.json.Encoder().encode
    url = replace_in_url(server.database_url, user=INGEST_LOGIN, password=server.secrets.ingest_password)
    landed, spent = 0, 0.0
    postgres = _postgres(server)
    cpu_before = _cpu(postgres)
    with connect(url) as connection:
        while spent < seconds:
            text = encode(sample_rows(DIRECT_BATCH)).decode()
            started = time.perf_counter()
            landed += len(connection.execute(LAND, [text]).fetchall())
            spent += time.perf_counter() - started
    return landed / spent, 1e6 * (_cpu(postgres) - cpu_before) / landed


def load(
    server: IngestServer, batch: int, seconds: float, rate: float | None = None, content_type: str = "text/plain"
) -> Load:
    """Load the API with batches. `rate`: requests a second, each connection pausing between its requests."""
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
    """The server that the benchmark started: its backend's parent, seen from here although another user runs it."""
    with connect(server.database_url) as connection:
        found = connection.execute("select pg_backend_pid()").fetchone()
        assert found is not None
        parent = psutil.Process(found[0]).parent()
        assert parent is not None
        return parent


def _cpu(parent: psutil.Process) -> float:
    """Processor seconds of a process and its children, those that ended included."""
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
    """Resident megabytes of the API and its workers."""
    total = 0
    parent = _api(server)
    for process in [parent, *parent.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def plain(server: IngestServer, seconds: float) -> Load:
    """The same load on the plain endpoint."""
    port = free_port(9400)
    url = replace_in_url(server.database_url, user=INGEST_LOGIN, password=server.secrets.ingest_password)
    command = [sys.executable, "-m", "uvicorn", "bench.plain_endpoint:app", "--port", str(port), "--no-access-log"]
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
    """Table and all indexes, in bytes an event."""
    [(size,)] = server.rows(
        "select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'public.events'::regclass"
    )
    return float(size) / max(server.count(), 1)


def main() -> int:
    """Run everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=15, help="length of each measurement")
    parser.add_argument("--soak-minutes", type=float, default=0, help="then load for so long and watch the memory")
    parser.add_argument("--workers", type=int, default=1, help="processes of the API")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    try:
        wrk_program()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tilda-bench-") as place:
        settings = OPEN_LIMITS | {"INGEST_WORKERS": str(options.workers)}
        with prepared(Path(place), 55700, settings, ["shop.example"]) as (server, _):
            figures = measure(server, options.seconds, options.soak_minutes)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)
    return 0


def measure(server: IngestServer, seconds: float, soak_minutes: float) -> dict[str, float]:
    """All figures by name."""
    server.start()
    try:
        load(server, 10, 3)  # warm
        before, cpu = direct(server, seconds)
        full = load(server, 10, seconds)
        half = load(server, 10, seconds, rate=full.events_per_second / 10 / 2)
        single = load(server, 1, seconds)
        after, _ = direct(server, seconds)
        # The table grows in between: the baseline is the mean of before and after.
        figures = {
            "direct": (before + after) / 2,
            "direct_postgres_cpu": cpu,
            "bytes_per_event": bytes_per_event(server),
        }
        for name, result in (("tens", full), ("tens_half", half), ("ones", single)):
            figures |= {f"{name}_{field}": value for field, value in vars(result).items()}
        if soak_minutes:
            samples = [load(server, 10, 60).memory_mb for _ in range(max(2, round(soak_minutes)))]
            figures |= {"soak_memory_first_mb": samples[0], "soak_memory_last_mb": samples[-1]}
    finally:
        server.stop()
    baseline = plain(server, seconds)
    figures |= {f"plain_{field}": value for field, value in vars(baseline).items()}
    figures["ratio"] = figures["tens_events_per_second"] / figures["direct"]
    figures["ratio_plain"] = figures["plain_events_per_second"] / figures["direct"]
    return figures


def show(figures: dict[str, float]) -> None:
    """Print the figures for a person."""
    table = Table(title=f"Ingest, {os.cpu_count()} cores, load generator and Postgres on the same machine")
    for heading in ("what", "events/s", "of (1)", "p50 ms", "p99 ms", "errors", "API MB", "API µs", "Postgres µs"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    base = figures["direct"]
    table.add_row(
        "(1) land_events, batches of 500, one connection",
        f"{base:,.0f}",
        "1.00",
        "",
        "",
        "",
        "",
        "",
        f"{figures['direct_postgres_cpu']:,.1f}",
    )
    for label, name in (
        ("(2) HTTP, batches of 10, saturated", "tens"),
        ("(2) HTTP, batches of 10, half of that", "tens_half"),
        ("(2) HTTP, batches of 1, saturated", "ones"),
        ("(3) plain endpoint, batches of 10", "plain"),
    ):
        speed = figures[f"{name}_events_per_second"]
        fields = ("p50", "p99", "errors", "memory_mb", "api_cpu", "postgres_cpu")
        rest = [figures[f"{name}_{field}"] for field in fields]
        table.add_row(label, f"{speed:,.0f}", f"{speed / base:.2f}", *(f"{value:,.1f}" for value in rest))
    console = Console()
    console.print(table)
    console.print("µs: processor time an event; all of Postgres's processes")
    console.print(f"{figures['bytes_per_event']:,.0f} bytes an event, table and all indexes")
    if "soak_memory_first_mb" in figures:
        first, last = figures["soak_memory_first_mb"], figures["soak_memory_last_mb"]
        console.print(f"memory under load: {first:,.0f} MB in the first minute, {last:,.0f} MB in the last")


if __name__ == "__main__":
    sys.exit(main())
