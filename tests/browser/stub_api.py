"""A recording stub of the ingest API, for failures that are hard to cause in the real API."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.browser.event_log import Event, EventLog

DIST = Path(__file__).parents[2] / "collector" / "dist"


@dataclass
class Request:
    """One received POST request to /api/events."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    size: int
    answered: int | None = None
    at: float = field(default_factory=time.monotonic)

    @property
    def events(self) -> list[Event]:
        return self.body["events"]


@dataclass
class Answer:
    """A response of the stub: a status and headers, sent after `hang_seconds`."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    hang_seconds: float = 0


class StubApi(EventLog):
    """Serves the collector and records events. `answer` chooses the response to each request."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda request: Answer()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    site_key = "pk_stub"

    @property
    def url(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"http://127.0.0.1:{self.port}"

    @property
    def arrivals(self) -> list[Event]:
        """Every event of a request answered with 202, including duplicates."""
        return [event for request in list(self.requests) if request.answered == 202 for event in request.events]

    @property
    def events(self) -> list[Event]:
        """Every event of a request answered with 202, without duplicates, in the order of the sender's clock."""
        unique = {event["event_id"]: event for event in reversed(self.arrivals)}
        return sorted(unique.values(), key=lambda event: event["created_at"])

    def start(self) -> None:
        """Start listening. After `stop`, use the same port."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, so that connections are refused."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                name = "collector.shop.js" if path == "/collector.js" else path[1:]
                self._send(200, (DIST / name).read_bytes(), {"Content-Type": "text/javascript"})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers), json.loads(body), len(body))
                api.requests.append(request)
                answer = api.answer(request)
                time.sleep(answer.hang_seconds)
                request.answered = answer.status
                self._send(answer.status, b'{"accepted":0,"duplicates":0,"rejected":[]}', answer.headers)

            def do_OPTIONS(self) -> None:
                raise AssertionError(f"the collector sent a preflight request for {urlsplit(self.path).path}")

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
                self.send_header("Access-Control-Allow-Credentials", "true")
                self.send_header("Access-Control-Expose-Headers", "Retry-After")
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        return Handler
