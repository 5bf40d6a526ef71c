"""Run the ingest API in its own process, for tests and benchmarks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from psycopg.types.json import Jsonb

from ingest_api.private.metrics_page import exposition
from warehouse.kit.database import INGEST_LOGIN, PRIVACY_LOGIN, READER_LOGIN, connect, replace_in_url
from warehouse.kit.installation import BASE_DIR
from warehouse.kit.ports import free_port
from warehouse.kit.secret_store import Secrets

START_SECONDS = 30
STOP_SECONDS = 40


@dataclass
class IngestServer:
    """An ingest API process, its owner's `database_url`, its `log`, and one site (`site_id`, `site_key`) to send to."""

    database_url: str
    secrets: Secrets
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    site_id: str = "shop"
    site_key: str = "pk_test"
    application: str = "public"
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def events_url(self) -> str:
        return f"{self.url}/api/events?key={self.site_key}"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.application}.log"

    def add_site(
        self,
        site_id: str,
        key: str,
        domains: list[str] | None = None,
        timezone: str = "UTC",
        collector: dict[str, Any] | None = None,
    ) -> None:
        with connect(self.database_url) as connection:
            connection.execute(
                "insert into public.sites (site_id, name, public_key, domains, timezone, collector)"
                " values (%s, %s, %s, %s, %s, %s)",
                [site_id, site_id, key, domains or [], timezone, Jsonb(collector or {})],
            )

    def with_new_site(self) -> IngestServer:
        """Return a view of this process with a new site."""
        key = uuid4().hex
        self.add_site(key, key)
        return replace(self, site_id=key, site_key=key)

    def start(self) -> None:
        """Start on a free port, or on the previous port after a stop, and wait until the API is healthy."""
        public = self.application == "public"
        self.port = self.port or free_port(8750 + os.getpid() % 500)
        login, password = (
            (INGEST_LOGIN, self.secrets.ingest_password) if public else (READER_LOGIN, self.secrets.reader_password)
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
            "DATABASE_URL": replace_in_url(self.database_url, user=login, password=password),
            "DATA_DIR": str(self.folder / "data"),
            "INGEST_PORT" if public else "PRIVATE_PORT": str(self.port),
        }
        if not public:
            environment |= {"READER_KEY": self.secrets.reader_key, "SERVICE_KEY": self.secrets.service_key}
            environment["DATABASE_DIRECT_URL"] = replace_in_url(
                self.database_url, user=PRIVACY_LOGIN, password=self.secrets.privacy_password
            )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ingest_api", self.application],
                cwd=BASE_DIR,
                env=environment | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_healthy()

    def wait_until_healthy(self) -> None:
        """Wait until `/health` returns 200."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the ingest API did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Stop the process with SIGTERM and return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self.process = None
        return code

    def kill(self) -> None:
        """Kill the process and its workers with SIGKILL."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)
            self.process = None

    def send(self, *events: dict[str, Any], **options: Any) -> httpx.Response:
        """Send events as a JSON array."""
        return httpx.post(self.events_url, json=list(events), timeout=60, **options)

    def metrics(self) -> dict[str, float]:
        """Return counters and gauges by name and labels, as the private application exposes them."""
        lines = exposition(self.folder / "data" / "metrics").decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query as the owner and return its rows."""
        with connect(self.database_url) as connection:
            return connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType]

    def count(self) -> int:
        """Return the number of stored events of this site."""
        return self.rows("select count(*) from public.events where site_id = %s", self.site_id)[0][0]


def page_view(**fields: Any) -> dict[str, Any]:
    """Return a valid page view with new IDs. `fields` override or add fields."""
    return {
        "event_id": str(uuid4()),
        "event_type": "page_view",
        "session_id": str(uuid4()),
        "user_id": "visitor-1",
        "page_url": "https://shop.example/catalogue?utm_source=news",
        "payload": {"page_view_id": "p1"},
    } | fields
