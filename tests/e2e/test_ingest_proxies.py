"""Behind a reverse proxy each visitor keeps an address and a rate limit; where that fails, the operator is told."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.e2e.conftest import running_ingest
from tests.ingest_server import IngestServer, page_view
from warehouse.embedded_postgres import EmbeddedPostgres
from warehouse.secret_store import Secrets


@pytest.fixture(scope="module")
def default_ingest(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """An ingest API with every setting at its default."""
    with running_ingest(postgres_server, secrets, tmp_path_factory.mktemp("proxied"), {}) as server:
        yield server


def visitors(count: int) -> Iterator[dict[str, str]]:
    """What a proxy on this machine says of visitors in networks of their own."""
    for number in range(count):
        yield {"X-Forwarded-For": f"198.51.{number}.9"}


def test_each_visitor_behind_a_proxy_on_this_machine_has_a_rate_limit_of_its_own(default_ingest: IngestServer):
    """With one address for all, the default of 500 events in 5 minutes would refuse most of these."""
    statuses = {
        default_ingest.send(*(page_view() for _ in range(10)), headers=visitor).status_code for visitor in visitors(120)
    }
    assert statuses == {202}
    assert default_ingest.rows("select count(distinct ip_address) from public.events") == [(120,)]
    assert httpx.get(f"{default_ingest.url}/ready").json()["warnings"] == []


def test_one_visitor_is_limited_behind_the_proxy_too(default_ingest: IngestServer):
    headers = {"X-Forwarded-For": "203.0.113.50"}
    batch = [page_view() for _ in range(250)]
    answers = [default_ingest.send(*batch, headers=headers).status_code for _ in range(3)]
    assert answers == [202, 202, 429]


def test_a_proxy_that_is_not_trusted_is_named_with_the_remedy(
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
        assert log.count("TRUSTED_PROXIES does not contain the peer") == 1, "once a minute, not once a request"
        assert log.count("many requests are answered 429") == 1


def test_forwarded_headers_can_be_refused_altogether(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    with running_ingest(postgres_server, secrets, tmp_path, {"TRUSTED_PROXIES": "none"}) as server:
        server.send(page_view(), headers={"X-Forwarded-For": "203.0.113.7"})
        assert server.rows("select host(ip_address) from public.events") == [("127.0.0.0",)]


def test_redirects_keep_the_visitors_scheme(default_ingest: IngestServer):
    for scheme, expected in (("https", "https"), ("http", "http"), ("gopher", "http")):
        headers = {"X-Forwarded-Proto": scheme, "Host": "stats.example.com"}
        answer = httpx.get(f"{default_ingest.url}/health/", headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (307, f"{expected}://stats.example.com/health")
