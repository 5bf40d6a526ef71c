"""`tilda check` sends one event through the public URL to Postgres and explains each failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from tests.https_proxy import HttpsProxy, https_proxy
from tests.ingest_server import IngestServer
from tilda import check
from tilda.cli import cli
from warehouse.kit.embedded_postgres import free_port

Steps = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Checked:
    """The result of one run: the exit code, and the steps by name."""

    code: int
    steps: Steps

    def failure(self) -> tuple[str, str]:
        """Return the detail and the remedy of the only failed step."""
        assert self.code == 1
        (step,) = (step for step in self.steps.values() if step["status"] == "failed")
        return step["detail"], step["remedy"]


@pytest.fixture
def site(shared_ingest: IngestServer) -> str:
    name = uuid4().hex
    shared_ingest.add_site(name, name, ["shop.example", "127.0.0.1"])
    return name


@pytest.fixture(autouse=True)
def _settings(shared_ingest: IngestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", shared_ingest.database_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PUBLIC_URL", shared_ingest.url)


@pytest.fixture(scope="module")
def _proxy(shared_ingest: IngestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsProxy]:
    with https_proxy(shared_ingest.url, tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture
def proxy(_proxy: HttpsProxy, monkeypatch: pytest.MonkeyPatch) -> HttpsProxy:
    """Use an HTTPS proxy with a trusted certificate as PUBLIC_URL."""
    _proxy.restore()
    monkeypatch.setenv("SSL_CERT_FILE", str(_proxy.certificate))
    monkeypatch.setenv("PUBLIC_URL", _proxy.url)
    return _proxy


def run(site: str) -> Checked:
    result = CliRunner().invoke(cli, ["check", site, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    report = json.loads(result.output)
    assert report["ok"] == (result.exit_code == 0)
    return Checked(result.exit_code, {step["name"]: step for step in report["steps"]})


def test_check_delivers_an_event_and_removes_its_rows(shared_ingest: IngestServer, site: str) -> None:
    checked = run(site)
    assert checked.code == 0
    assert {name: step["status"] for name, step in checked.steps.items()} == {
        "site": "ok",
        "public address": "ok",
        "collector": "ok",
        "event": "ok",
        "CORS": "ok",
        "database": "ok",
        "visitor address": "ok",
        "visits": "waiting",
    }
    assert "https://shop.example" in checked.steps["event"]["detail"]
    assert "127.0.0.0/24" in checked.steps["visitor address"]["detail"]
    assert "tilda snippet" in checked.steps["visits"]["remedy"]
    for table in ("public.events", "public.users", "public.sessions", "public.rejected_events"):
        assert shared_ingest.rows(f"select from {table} where site_id = %s", site) == []


def test_check_prints_each_step_as_text(site: str) -> None:
    result = CliRunner().invoke(cli, ["check", site])
    assert "✓ collector: http://127.0.0.1:" in result.output
    assert "… visits: No visit has arrived yet." in result.output


def test_check_reports_the_time_of_the_last_visit(shared_ingest: IngestServer, site: str) -> None:
    shared_ingest.rows(
        "insert into public.sessions (site_id, session_id, started_at, is_bot) values"
        " (%s, gen_random_uuid(), '2026-10-01 10:00Z', false), (%s, gen_random_uuid(), '2026-09-01Z', true)"
        " returning 1",
        site,
        site,
    )
    assert "2026-10-01 10:00 UTC" in run(site).steps["visits"]["detail"]


def test_check_passes_through_a_tls_proxy_with_a_path_prefix(
    proxy: HttpsProxy, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.prefix = "/stats"
    monkeypatch.setenv("PUBLIC_URL", proxy.url)
    checked = run(site)
    assert checked.code == 0, checked.steps
    assert "valid certificate" in checked.steps["collector"]["detail"]


def test_untrusted_certificate_fails_the_check_with_a_remedy(
    proxy: HttpsProxy, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    detail, remedy = run(site).failure()
    assert detail.startswith("Browsers reject the certificate of localhost: self")
    assert "Let's Encrypt" in remedy


def test_unresolvable_host_fails_the_check_with_a_remedy(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://stats.does-not-exist.invalid")
    detail, remedy = run(site).failure()
    assert detail == "DNS does not know stats.does-not-exist.invalid."
    assert "DNS record" in remedy


def test_refused_connection_fails_the_check_with_a_remedy(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port(21_050)
    monkeypatch.setenv("PUBLIC_URL", f"http://127.0.0.1:{port}")
    detail, remedy = run(site).failure()
    assert detail == f"Nothing accepts connections at 127.0.0.1:{port}."
    assert "tilda up" in remedy


def test_https_url_of_a_plain_http_port_fails_the_check(
    shared_ingest: IngestServer, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_URL", shared_ingest.url.replace("http://", "https://"))
    assert "does not speak TLS" in run(site).failure()[0]


def test_check_uses_the_running_stack_without_public_url(
    shared_ingest: IngestServer, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PUBLIC_URL")
    checked = run(site)
    assert "collector" not in checked.steps
    assert "PUBLIC_URL is not set" in checked.failure()[0]
    monkeypatch.setattr("tilda.commands.sites._running_address", lambda _: shared_ingest.url)
    checked = run(site)
    assert checked.steps["database"]["status"] == "ok"
    assert shared_ingest.url in checked.failure()[1]


def test_closed_site_fails_the_check_before_an_event_is_sent(shared_ingest: IngestServer, site: str) -> None:
    shared_ingest.rows(
        "update public.sites set closed_key = public_key, public_key = null where site_id = %s returning 1", site
    )
    checked = run(site)
    assert "closed" in checked.failure()[0]
    assert "event" not in checked.steps


def test_wrong_response_for_the_collector_fails_the_check(proxy: HttpsProxy, site: str) -> None:
    proxy.replaced["/collector.js"] = (200, {"Content-Type": "text/html"}, b"<h1>Welcome to nginx!</h1>")
    detail, remedy = run(site).failure()
    assert "serves something else (text/html), not the collector" in detail
    assert "forward /collector.js to" in remedy
    proxy.replaced["/collector.js"] = (502, {}, b"")
    assert "does not reach the API" in run(site).failure()[1]


def test_check_requests_the_configured_paths(
    guarded_ingest: IngestServer, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded_ingest.add_site(site, site, ["shop.example"])
    monkeypatch.setenv("PUBLIC_URL", guarded_ingest.url)
    monkeypatch.setattr(check, "FOUND_WITHIN_SECONDS", 0.5)
    assert "/collector.js answers 404" in run(site).failure()[0]
    monkeypatch.setenv("COLLECTOR_PATH", "/assets/c.js")
    assert "/api/events answers 404" in run(site).failure()[0]
    monkeypatch.setenv("EVENTS_PATH", "/e")
    assert run(site).steps["event"]["status"] == "ok"


def test_duplicate_cors_header_fails_the_check(proxy: HttpsProxy, site: str) -> None:
    """Browsers refuse two Access-Control-Allow-Origin values, so the collector would resend every event endlessly."""
    proxy.added["Access-Control-Allow-Origin"] = "*"
    detail, remedy = run(site).failure()
    assert "https://shop.example, *" in detail
    assert "reverse proxy" in remedy


def test_redirected_events_endpoint_fails_the_check(proxy: HttpsProxy, site: str) -> None:
    proxy.replaced["/api/events"] = (301, {"Location": "https://www.stats.example/api/events"}, b"")
    assert "https://www.stats.example/api/events" in run(site).failure()[1]


def test_key_unknown_to_the_api_fails_the_check(
    guarded_ingest: IngestServer, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_URL", guarded_ingest.url)
    monkeypatch.setenv("COLLECTOR_PATH", "/assets/c.js")
    monkeypatch.setattr(check, "NOTICED_WITHIN_SECONDS", 0.0)
    detail, remedy = run(site).failure()
    assert f"without the settings of {site}" in detail
    assert "another installation may answer" in remedy


def test_api_that_writes_to_another_database_fails_the_check(
    shared_ingest: IngestServer, guarded_ingest: IngestServer, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded_ingest.add_site(site, site, ["shop.example"])
    monkeypatch.setenv("PUBLIC_URL", guarded_ingest.url)
    monkeypatch.setenv("COLLECTOR_PATH", "/assets/c.js")
    monkeypatch.setenv("EVENTS_PATH", "/e")
    monkeypatch.setattr(check, "FOUND_WITHIN_SECONDS", 0.5)
    detail, remedy = run(site).failure()
    assert "not in the database" in detail
    assert "DATABASE_URL" in remedy
    # The remaining row is a bot event without a visitor or a session, which the models ignore.
    assert guarded_ingest.rows(
        "select event_type, is_bot, user_id, session_id from public.events where site_id = %s", site
    ) == [("tilda_check", True, None, None)]


def test_api_warning_fails_the_check(proxy: HttpsProxy, site: str) -> None:
    response = b'{"ready": true, "warnings": ["10.0.0.7 sends X-Forwarded-For and is not trusted."]}'
    proxy.replaced["/ready"] = (200, {"Content-Type": "application/json"}, response)
    assert run(site).failure()[0] == "10.0.0.7 sends X-Forwarded-For and is not trusted."


def test_refused_origin_fails_the_check_with_a_remedy(
    shared_ingest: IngestServer, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API refuses a new domain until it has reloaded the list of sites."""
    monkeypatch.setattr(check, "NOTICED_WITHIN_SECONDS", 0.0)
    monkeypatch.setattr(check, "_origin", lambda *_: "https://other.example")
    detail, remedy = run(site).failure()
    assert "answers 403" in detail
    assert remedy.endswith(f"tilda site show {site}")
