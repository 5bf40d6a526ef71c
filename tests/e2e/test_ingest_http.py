"""HTTP requests of clients, monitoring systems and attackers."""

import gzip
import json
import socket
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.ingest_server import IngestServer, page_view
from warehouse.kit.secret_store import Secrets


@pytest.fixture
def api(shared_ingest: IngestServer) -> IngestServer:
    """Return the shared ingest API with a new site."""
    return shared_ingest.with_new_site()


@pytest.mark.parametrize("path", ["/health", "/ready", "/collector.js", "/collector.vitals.js", "/api/pixel.gif"])
def test_head_returns_the_headers_of_get_and_records_nothing(api: IngestServer, path: str):
    url = f"{api.url}{path}?key={api.site_key}"
    head, get = httpx.head(url), httpx.get(url)
    assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"])
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.content == b""
    assert api.count() == (1 if "pixel" in path else 0), "HEAD records nothing"


def test_single_event_is_accepted_without_an_array(api: IngestServer):
    answer = httpx.post(api.events_url, json=page_view(page_title="alone"))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert api.rows("select page_title from public.events where site_id = %s", api.site_id) == [("alone",)]
    refused = httpx.post(api.events_url, json={"event_type": "page_view"})
    assert [one["code"] for one in refused.json()["rejected"]] == ["invalid_event"]


def test_gzip_body_is_decompressed(api: IngestServer):
    body = json.dumps([page_view(), page_view()]).encode()
    members = gzip.compress(body[:100]) + gzip.compress(body[100:])
    for packed in (gzip.compress(body), members):
        answer = httpx.post(api.events_url, content=packed, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 202, answer.text
    assert api.count() == 2


def test_unknown_fields_are_listed_as_ignored(api: IngestServer):
    answer = httpx.post(api.events_url, json={"events": [page_view(color="red"), page_view()], "batch": 1})
    assert (answer.json()["accepted"], answer.json()["ignored"]) == (2, ["batch", "color"])
    assert api.send(page_view()).json()["ignored"] == []


def test_client_disconnect_is_counted_as_499_and_not_logged_as_an_error(api: IngestServer):
    before = api.metrics()
    head = f"POST /api/events?key={api.site_key} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", api.port)) as line:
            line.sendall(head.encode() + b'[{"event_id"')
    assert api.send(page_view()).status_code == 202
    after = api.metrics()

    def rise(status: str) -> float:
        name = f'tilda_http_answers_total{{status="{status}"}}'
        return after.get(name, 0) - before.get(name, 0)

    assert (rise("500"), rise("499")) == (0, 3)
    assert "Traceback" not in api.log.read_text()
    assert "ClientGoneError" not in api.log.read_text()


def test_large_headers_are_refused_with_431_and_cors_headers(api: IngestServer):
    origin = {"Origin": "https://shop.example"}
    answer = httpx.post(api.events_url, json=[], headers=origin | {"X-Padding": "x" * 9_000})
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert httpx.post(api.events_url, json=[], headers={"X-Padding": "x" * 7_000}).status_code == 202
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as line:  # endless headers
        line.sendall(b"GET /health HTTP/1.1\r\n")
        sent = 0
        try:
            while sent < 50_000_000:
                line.sendall(b"X-A: " + b"a" * 60_000 + b"\r\n")
                sent += 60_000
        except OSError:
            pass
        assert sent < 5_000_000, "the server closes the connection instead of reading endless headers"


def test_distinct_origins_do_not_grow_memory(api: IngestServer):
    """Regression test: 2,300 requests with long Origin headers used 600 MB of memory."""
    site = uuid4().hex
    api.add_site(site, site, ["shop.example"])
    assert api.process is not None
    process = psutil.Process(api.process.pid)
    url = f"{api.url}/api/events?key={site}"
    with httpx.Client() as client:

        def send(count: int) -> None:
            for _ in range(count):
                client.post(url, json=[], headers={"Origin": f"https://{uuid4().hex * 200}.example"})

        send(50)
        before = process.memory_info().rss
        send(500)
    assert process.memory_info().rss - before < 15_000_000, (
        "3.3 MB of headers were sent; before the fix memory grew by 130 MB"
    )


def test_unsupported_supabase_requests_get_postgrest_errors(api: IngestServer):
    key = {"apikey": api.site_key}

    def ask(method: str, path: str) -> tuple[int, str]:
        answer = httpx.request(method, f"{api.url}/rest/v1/{path}", headers=key, json={"a": 1})
        assert set(answer.json()) == {"code", "details", "hint", "message"}, answer.text
        return answer.status_code, answer.json()["code"]

    assert ask("PATCH", "events?event_id=eq.1") == (401, "42501")  # .update()
    assert ask("DELETE", "sessions?session_id=eq.1") == (401, "42501")
    assert ask("GET", "users?select=*") == (401, "42501")
    assert ask("POST", "rpc/land_events") == (404, "PGRST202")
    assert ask("GET", "rpc/anything") == (404, "PGRST202")
    assert ask("POST", "orders") == (404, "PGRST205")
    assert ask("GET", "sites?select=*") == (404, "PGRST205")
    preflight = httpx.options(
        f"{api.url}/rest/v1/events",
        headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "PATCH"},
    )
    assert "PATCH" in preflight.headers["access-control-allow-methods"]


def test_metrics_are_served_only_by_the_private_application(api: IngestServer, secrets: Secrets, tmp_path: Path):
    assert httpx.get(f"{api.url}/metrics").status_code == 404
    api.send(page_view())
    private = IngestServer(api.database_url, secrets, api.folder, application="private")
    private.start()
    try:
        answer = httpx.get(f"{private.url}/metrics")
    finally:
        private.stop()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "tilda_events_accepted_total" in answer.text
