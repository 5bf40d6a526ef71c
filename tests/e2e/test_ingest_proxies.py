"""Behind a reverse proxy each visitor has an address and a rate limit. A wrong proxy setting causes a warning."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import running_ingest
from tests.ingest_server import IngestServer, page_view
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


@pytest.fixture(scope="module")
def default_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """Run an ingest API with default settings."""
    with running_ingest(postgres_server, secrets, tmp_path_factory.mktemp("proxied"), {}) as server:
        yield server


def visitors(count: int) -> Iterator[dict[str, str]]:
    """Yield the headers that a proxy sends for visitors in different networks."""
    for number in range(count):
        yield {"X-Forwarded-For": f"198.51.{number}.9"}


def test_each_visitor_behind_a_local_proxy_has_a_separate_rate_limit(default_ingest: IngestServer):
    """If all visitors shared one address, the default limit of 500 events in 5 minutes would refuse most requests."""
    statuses = {
        default_ingest.send(*(page_view() for _ in range(10)), headers=visitor).status_code for visitor in visitors(120)
    }
    assert statuses == {202}
    assert default_ingest.rows("select count(distinct ip_address) from public.events") == [(120,)]
    assert httpx.get(f"{default_ingest.url}/ready").json()["warnings"] == []


def test_single_visitor_behind_a_local_proxy_is_rate_limited(default_ingest: IngestServer):
    headers = {"X-Forwarded-For": "203.0.113.50"}
    batch = [page_view() for _ in range(250)]
    answers = [default_ingest.send(*batch, headers=headers).status_code for _ in range(3)]
    assert answers == [202, 202, 429]


def test_untrusted_proxy_causes_warnings_that_name_trusted_proxies(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    settings = {"TRUSTED_PROXIES": "10.0.0.0/8", "RATE_LIMIT_PER_IP": "30/5 minutes"}
    with running_ingest(postgres_server, secrets, tmp_path, settings) as server:
        session = str(uuid4())
        answers = [server.send(page_view(session_id=session), headers=one).status_code for one in visitors(60)]
        assert (answers.count(202), answers.count(429)) == (30, 30)
        assert server.rows("select distinct host(ip_address) from public.events where session_id = %s", session) == [
            ("127.0.0.0",)
        ]
        forwarded, limited = httpx.get(f"{server.url}/ready").json()["warnings"]
        assert "127.0.0.1" in forwarded
        assert "TRUSTED_PROXIES" in forwarded
        assert "30 of the last" in limited
        log = server.log.read_text()
        assert log.count("TRUSTED_PROXIES does not contain the peer") == 1, (
            "the warning is logged once a minute, not for each request"
        )
        assert log.count("many requests are answered 429") == 1


def test_trusted_proxies_none_ignores_forwarded_headers(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    with running_ingest(postgres_server, secrets, tmp_path, {"TRUSTED_PROXIES": "none"}) as server:
        server.send(page_view(), headers={"X-Forwarded-For": "203.0.113.7"})
        assert server.rows("select host(ip_address) from public.events") == [("127.0.0.0",)]


def test_redirects_keep_the_forwarded_scheme(default_ingest: IngestServer):
    for scheme, expected in (("https", "https"), ("http", "http"), ("gopher", "http")):
        headers = {"X-Forwarded-Proto": scheme, "Host": "stats.example.com"}
        answer = httpx.get(f"{default_ingest.url}/health/", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (307, f"{expected}://stats.example.com/health")
