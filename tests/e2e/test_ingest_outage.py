"""Postgres stops and starts again: every acknowledged event is stored exactly once."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.embedded import migrated_database, running_postgres, set_login_passwords
from tests.ingest_server import IngestServer, page_view
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory, secrets: Secrets) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres server that tests may stop, with the durability settings of production."""
    data = tmp_path_factory.mktemp("outage") / "data"
    with running_postgres(data, 55600, secrets.postgres_password) as server:
        set_login_passwords(migrated_database(server, "tilda"), secrets)
        yield server


@pytest.fixture
def api(own_postgres: EmbeddedPostgres, secrets: Secrets, tmp_path: Path) -> Iterator[IngestServer]:
    port = own_postgres.start(55600, or_next_free=True)
    server = IngestServer(own_postgres.url("tilda", port=port), secrets, tmp_path, {"RATE_LIMIT_PER_IP": "off"})
    with connect(server.database_url) as connection:
        connection.execute("truncate public.sites, public.events, public.event_claims, public.sessions, public.users")
    server.add_site(server.site_id, server.site_key)
    server.settings |= {"SPOOL_MAX_BYTES": "1048576"}
    server.start()
    try:
        yield server
    finally:
        server.kill()
        own_postgres.start(port)


def until(met: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ready(api: IngestServer) -> dict[str, object]:
    return httpx.get(f"{api.url}/ready").json()


def test_events_are_spooled_while_postgres_is_down_and_replayed_afterwards(
    api: IngestServer, own_postgres: EmbeddedPostgres
):
    before, without_time = page_view(), page_view()
    assert api.send(before).json()["accepted"] == 1
    port = own_postgres.running_port()
    assert port is not None
    own_postgres.stop()

    answers = [api.send(page_view(), page_view(), {"bad": 1}) for _ in range(20)]
    assert {(answer.status_code, answer.json()["spooled"], len(answer.json()["rejected"])) for answer in answers} == {
        (202, 2, 1)
    }
    # duplicates are unknown until Postgres is back
    assert api.send(before, without_time, without_time).json()["spooled"] == 3
    state = ready(api)
    assert (state["ready"], state["database"], state["spool"]["rows"]) == (True, "away", 63)  # type: ignore[index]
    metrics = api.metrics()
    assert (metrics["tilda_spool_rows"], metrics["tilda_postgres_away"]) == (63, 1)
    assert httpx.post(f"{api.url}/api/events?key=never-seen", json=[]).status_code == 503

    api.kill()  # after a restart without Postgres the API still knows the key and keeps the spooled events
    api.start()
    assert api.send(page_view()).json()["spooled"] == 1

    own_postgres.start(port)
    until(lambda: ready(api)["database"] == "reachable" and ready(api)["spool"]["rows"] == 0)  # type: ignore[index]
    assert api.count() == 1 + 40 + 1 + 1
    assert api.rows("select code, count(*) from public.rejected_events group by code") == [("invalid_event", 20)]
    assert api.send(without_time, before).json()["duplicates"] == 2
    [(times,)] = api.rows("select count(*) from public.events where loaded_at - received_at > interval '50 ms'")
    assert times >= 40  # received_at is the time of arrival, not of the replay


def test_full_spool_answers_503_and_keeps_the_spooled_events(api: IngestServer, own_postgres: EmbeddedPostgres):
    port = own_postgres.running_port()
    assert port is not None
    assert api.send(page_view()).json()["accepted"] == 1
    own_postgres.stop()
    spooled = 0
    while True:
        answer = api.send(*(page_view(payload={"custom": {"text": "x" * 500}}) for _ in range(50)))
        if answer.status_code != 202:
            break
        spooled += answer.json()["spooled"]
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_full")
    assert int(answer.headers["retry-after"]) > 0
    answer = httpx.get(f"{api.url}/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False), answer.text
    own_postgres.start(port)
    until(lambda: api.count() == 1 + spooled)
    until(lambda: httpx.get(f"{api.url}/ready").status_code == 200)
    assert api.send(page_view()).json()["accepted"] == 1


def test_terminated_database_connection_is_reopened(api: IngestServer):
    api.send(page_view())
    for _ in range(3):
        api.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tilda_ingest'")
        assert [api.send(page_view()).json()["accepted"] for _ in range(5)] == [1] * 5
    assert api.count() == 16
