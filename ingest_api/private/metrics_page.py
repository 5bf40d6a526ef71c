"""`/metrics`: the metrics of all workers of the public application, for Prometheus.

The workers write files to `PROMETHEUS_MULTIPROC_DIR`, which `python -m ingest_api public` prepares. The private
application serves the metrics, so that the internet cannot read them.
"""

from __future__ import annotations

import re
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(folder: Path) -> bytes:
    """Return all metrics in Prometheus's text format, aggregated over the workers.

    Args:
        folder: The folder that the workers write to. The result is empty while the folder does not exist.
    """
    if not folder.is_dir():
        return b""
    _forget_dead_workers(folder)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))
    return generate_latest(registry)


def _forget_dead_workers(folder: Path) -> None:
    """Delete the gauges of workers that have ended: they have no queue. Their counters stay in the sums."""
    for file in folder.glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", file.name)
        if found and not psutil.pid_exists(int(found[1])):
            multiprocess.mark_process_dead(int(found[1]), str(folder))
