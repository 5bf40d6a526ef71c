"""Status of the stack for `tilda status`: processes, addresses, stored events, and problems."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from psycopg import errors

from tilda.state import State
from warehouse.access.logins import address_as
from warehouse.events.counts import count_events
from warehouse.kit.database import connect, direct_url, embedded, url_with_passfile
from warehouse.kit.errors import UserError, explain
from warehouse.kit.settings import Settings
from warehouse.sites.refused_origins import list_refused_origins

ORIGINS_WITHIN = timedelta(hours=24)
STATEMENT_TIMEOUT = "5s"
"""Limits the wait for a locked table."""


@dataclass
class Status:
    """Status of the stack. Unknown values are None.

    Attributes:
        database_url: URL for psql and BI tools, with the login that reads marts and ml. A file holds the password.
        events_are_estimated: Whether `events` is an estimate from statistics, which is used for large tables.
        refused_origins: Origins of the last 24 hours that are not a domain of the site.
        warnings: Warnings of the public API, each with its remedy.
        problems: Services that do not answer, and the error of the last start.
    """

    state: str
    database_url: str | None = None
    ingest_url: str | None = None
    private_url: str | None = None
    dagster_url: str | None = None
    dashboard_url: str | None = None
    mindsdb_url: str | None = None
    mindsdb_mysql: str | None = None
    spooled_events: int | None = None
    events: int | None = None
    events_are_estimated: bool | None = None
    last_event_at: datetime | None = None
    processes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused_origins: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    warnings: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


def read_status(settings: Settings, state: State | None) -> Status:
    """Query the running services. Failures are reported in `problems` and do not raise."""
    urls = state.urls if state else {}
    status = Status(
        state.phase if state else "stopped",
        ingest_url=urls.get("ingest"),
        private_url=urls.get("private"),
        dagster_url=urls.get("dagster"),
        dashboard_url=urls.get("dashboard"),
        mindsdb_url=urls.get("mindsdb"),
        mindsdb_mysql=urls.get("mindsdb-mysql"),
        processes=[one.as_dict() | {"running": one.find() is not None} for one in state.processes] if state else [],
    )
    last = State.read(settings.data_dir) if state is None else None
    if last is not None and last.phase == "failed":
        status.problems.append(f"The last start failed: {last.message}")
    if status.ingest_url is not None:
        _ask_ingest(status, status.ingest_url)
    if state is not None or not settings.uses_embedded_postgres or embedded(settings).running_port() is not None:
        _ask_database(status, settings)
    return status


def _ask_ingest(status: Status, url: str) -> None:
    try:
        answer = httpx.get(f"{url}/ready", timeout=5).json()
    except (httpx.HTTPError, ValueError) as error:
        status.problems.append(f"The ingest API at {url} does not answer: {error}. See the log: ingest.log")
        return
    if isinstance(answer, dict):
        found: dict[str, Any] = answer
        status.spooled_events = (found.get("spool") or {}).get("rows")
        status.warnings += found.get("warnings", [])


def _ask_database(status: Status, settings: Settings) -> None:
    try:
        owner = direct_url(settings)
        reader = address_as(owner, settings, "reader")
        status.database_url = url_with_passfile(reader, settings.data_dir / "pgpass")
        with connect(owner) as connection:
            connection.execute(f"set statement_timeout = '{STATEMENT_TIMEOUT}'")
            count = count_events(connection)
            refused = list_refused_origins(connection, datetime.now(UTC) - ORIGINS_WITHIN)
        status.events, status.events_are_estimated = count.events, count.is_estimate
        status.last_event_at = count.last_event_at
        status.refused_origins = [asdict(one) for one in refused]
    except (UserError, OSError, errors.Error) as error:
        status.problems.append(str(explain(error)))
