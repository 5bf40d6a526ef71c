"""Counters and gauges for Prometheus; `ingest_api.private.metrics_page` shows them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECEIVED = Counter("tilda_events_received_total", "Events received in readable requests.", ["source"])
ACCEPTED = Counter("tilda_events_accepted_total", "Events stored in Postgres for the first time.")
DUPLICATES = Counter("tilda_events_duplicate_total", "Duplicate events.")
SPOOLED = Counter("tilda_events_spooled_total", "Events spooled while Postgres could not be reached.")
REJECTED = Counter("tilda_events_rejected_total", "Events rejected, by reason.", ["code"])
REPLAYED = Counter("tilda_spool_replayed_total", "Rows replayed from the spool.")
ANSWERS = Counter("tilda_http_answers_total", "HTTP answers, by status.", ["status"])
FLUSH_ROWS = Histogram("tilda_flush_rows", "Rows in one flush.", buckets=(1, 3, 10, 30, 100, 200, 400, 700, 1000, 2000))
FLUSH_SECONDS = Histogram(
    "tilda_flush_seconds",
    "Time until a flush was durable.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
)
WAITING = Gauge("tilda_queue_rows", "Queued rows.", multiprocess_mode="livesum")
SPOOL_ROWS = Gauge("tilda_spool_rows", "Rows on the spool.", multiprocess_mode="livemax")
SPOOL_BYTES = Gauge("tilda_spool_bytes", "Bytes of the spool in use.", multiprocess_mode="livemax")
AWAY = Gauge("tilda_postgres_away", "1 while Postgres cannot be reached.", multiprocess_mode="livemax")
