"""What operators watch: counters and gauges for Prometheus.

Several workers write to shared files in `PROMETHEUS_MULTIPROC_DIR`, which `python -m ingest_api` prepares.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil
from prometheus_client import REGISTRY as _PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

RECEIVED = Counter("tilda_events_received_total", "Events that arrived in requests that could be read.", ["source"])
ACCEPTED = Counter("tilda_events_accepted_total", "Events stored in Postgres for the first time.")
DUPLICATES = Counter("tilda_events_duplicate_total", "Events that were stored before.")
SPOOLED = Counter("tilda_events_spooled_total", "Events put on the spool while Postgres was away.")
REJECTED = Counter("tilda_events_rejected_total", "Events refused, by reason.", ["code"])
REPLAYED = Counter("tilda_spool_replayed_total", "Rows landed from the spool.")
ANSWERS = Counter("tilda_http_answers_total", "Answers by status.", ["status"])
FLUSH_ROWS = Histogram("tilda_flush_rows", "Rows in one flush.", buckets=(1, 3, 10, 30, 100, 200, 400, 700, 1000, 2000))
FLUSH_SECONDS = Histogram(
    "tilda_flush_seconds",
    "Time until a flush was durable.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
)
WAITING = Gauge("tilda_queue_rows", "Rows that wait for a flush.", multiprocess_mode="livesum")
SPOOL_ROWS = Gauge("tilda_spool_rows", "Rows on the spool.", multiprocess_mode="livemax")
SPOOL_BYTES = Gauge("tilda_spool_bytes", "Bytes of the spool in use.", multiprocess_mode="livemax")
AWAY = Gauge("tilda_postgres_away", "1 while Postgres does not answer.", multiprocess_mode="livemax")


def exposition() -> bytes:
    """All metrics in the text format, over all workers."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return generate_latest(_PROCESS_REGISTRY)
    _forget_dead_workers(Path(folder))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)


def prepare(folder: Path) -> None:
    """Make the folder of shared metrics empty; before any worker starts."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ[FOLDER] = str(folder)


def _forget_dead_workers(folder: Path) -> None:
    """A worker that was killed no longer has a queue; its counters stay in the sums."""
    for file in folder.glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", file.name)
        if found and not psutil.pid_exists(int(found[1])):
            multiprocess.mark_process_dead(int(found[1]), str(folder))
