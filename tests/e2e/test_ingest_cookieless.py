"""Cookieless events through every endpoint: one ID a day, nothing else about the visitor in the database or in logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.e2e.conftest import running_ingest
from tests.ingest_server import IngestServer, page_view
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets

ADDRESS = "203.0.113.77"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.6723.59 Safari/537.36"
VISITOR = {"X-Forwarded-For": ADDRESS, "User-Agent": AGENT}


def send(server: IngestServer, body: Any, query: str = "&cookieless=1", **headers: str) -> httpx.Response:
    return httpx.post(f"{server.events_url}{query}", json=body, headers=VISITOR | headers, timeout=60)


def visitors(server: IngestServer) -> list[str | None]:
    """Return the visitor IDs of a site's events, in the order of arrival."""
    rows = server.rows("select user_id from public.events where site_id = %s order by received_at, id", server.site_id)
    return [user_id for (user_id,) in rows]


@pytest.fixture
def site(shared_ingest: IngestServer) -> IngestServer:
    return shared_ingest.with_new_site()


def test_the_server_makes_one_visitor_id_for_a_day(site: IngestServer):
    event = page_view(payload={"identity": {"email_sha256": "ab"}, "page_view_id": "p1"})
    assert send(site, [event]).json() == {"rejected": [], "ignored": [], "accepted": 1, "duplicates": 0}
    assert send(site, {"cookieless": True, "events": [page_view()]}, "").json()["accepted"] == 1
    assert send(site, page_view() | {"cookieless": True}, "").json()["accepted"] == 1
    mine = set(visitors(site))
    assert len(mine) == 1
    [visitor] = mine
    assert visitor is not None
    assert visitor.startswith("cookieless.")
    assert len(visitor) == len("cookieless.") + 22
    stored = site.rows(
        "select distinct session_id, ip_address, user_agent, browser, payload -> 'identity', is_bot"
        " from public.events where site_id = %s",
        site.site_id,
    )
    assert stored == [(None, None, None, "Chrome", None, False)]

    send(site, [page_view()], **{"X-Forwarded-For": "203.0.113.78"})
    send(site, [page_view()], **{"User-Agent": AGENT.replace("130", "131")})
    other_site = site.with_new_site()
    send(other_site, [page_view()])
    assert len({*visitors(site), *visitors(other_site)}) == 4
    assert site.rows("select count(*) from public.users where site_id = %s", site.site_id) == [(0,)]
    assert site.rows("select count(*) from public.sessions where site_id = %s", site.site_id) == [(0,)]
    send(site, [page_view()], "")
    assert visitors(site)[-1] == "visitor-1", "with consent the visitor has an ID from the browser"


def test_pixel_and_supabase_client_have_the_same_visitor(site: IngestServer):
    send(site, [page_view()])
    pixel = {"key": site.site_key, "cookieless": "1", "user_id": "mail-1", "session_id": str(uuid4())}
    assert httpx.get(f"{site.url}/api/pixel.gif", params=pixel, headers=VISITOR).status_code == 200
    headers = VISITOR | {"apikey": site.site_key}
    answer = httpx.post(f"{site.url}/rest/v1/events?cookieless=1", json=page_view(), headers=headers)
    assert answer.status_code == 201
    assert len(visitors(site)) == 3
    assert len(set(visitors(site))) == 1
    for table, row in (("users", {"user_id": "u"}), ("sessions", {"session_id": str(uuid4())})):
        refused = httpx.post(f"{site.url}/rest/v1/{table}?cookieless=1", json=row, headers=headers)
        assert refused.status_code == 400
        row |= {"user_id": "cookieless.x"}
        assert httpx.post(f"{site.url}/rest/v1/{table}", json=row, headers=headers).status_code == 400
    assert site.rows("select count(*) from public.users where site_id = %s", site.site_id) == [(0,)]


def test_identify_events_and_reserved_ids_are_rejected_with_a_reason(site: IngestServer):
    identify = page_view(event_type="identify", payload={"identity": {"external_id": "anna@example.com"}})
    answer = send(site, [page_view(), identify, page_view()]).json()
    assert answer["accepted"] == 2
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [(1, "cookieless_identify")]
    answer = send(site, [page_view(user_id="cookieless.0123456789abcdefghijkl")], "").json()
    assert (answer["accepted"], answer["rejected"][0]["code"]) == (0, "reserved_user_id")
    stored = site.rows("select code, body from public.rejected_events where site_id = %s order by code", site.site_id)
    assert stored[0] == ("cookieless_identify", ""), "what the visitor was identified by is not stored"
    assert stored[1][0] == "reserved_user_id"
    assert (
        httpx.post(
            f"{site.url}/rest/v1/events?cookieless=1", json=identify, headers=VISITOR | {"apikey": site.site_key}
        ).status_code
        == 400
    )


def test_a_cookieless_request_sets_no_cookie(shared_ingest: IngestServer):
    key = uuid4().hex
    shared_ingest.add_site(key, key, ["shop.example"])
    headers = VISITOR | {"Host": "stats.shop.example", "Cookie": "analytics_user_id=known-visitor"}
    url = f"{shared_ingest.url}/api/events?key={key}&cookie=1"
    assert "set-cookie" in httpx.post(url, json=[page_view()], headers=headers).headers
    assert "set-cookie" not in httpx.post(f"{url}&cookieless=1", json=[page_view()], headers=headers).headers
    body = {"cookieless": True, "events": [page_view()]}
    assert "set-cookie" not in httpx.post(url, json=body, headers=headers).headers
    forged = headers | {"Cookie": "analytics_user_id=cookieless.0123456789abcdefghijkl"}
    answer = httpx.post(url, json=[page_view()], headers=forged)
    assert "analytics_user_id=visitor-1" in answer.headers["set-cookie"]


def test_a_server_sends_for_its_visitors(postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path):
    with running_ingest(postgres_server, secrets, tmp_path, {"SERVICE_KEY": secrets.service_key}) as server:
        authorization = {"Authorization": f"Bearer {secrets.service_key}"}
        send(server, [page_view()])
        send(server, [page_view()], **authorization)
        httpx.post(
            f"{server.events_url}&cookieless=1", json=[page_view()], headers=authorization
        )  # names no visitor's address
        assert visitors(server)[0] == visitors(server)[1] is not None
        assert visitors(server)[2] is None, "the server's own address would be one visitor for all"


def test_workers_share_the_salt_and_another_day_has_other_ids(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    """The second server starts on the next day: the first day's salt is moved to the day before."""
    settings = {"INGEST_WORKERS": "2", "RATE_LIMIT_PER_IP": "off"}
    with running_ingest(postgres_server, secrets, tmp_path, settings) as server:
        for _ in range(20):  # each connection may reach either worker
            assert send(server, [page_view()]).status_code == 202
        today = set(visitors(server))
        assert len(today) == 1
        assert server.stop() == 0
        with connect(server.database_url) as owner:
            owner.execute("update ops.daily_salts set day = day - 1")
        server.start()
        for _ in range(10):
            assert send(server, [page_view()]).status_code == 202
        assert len(set(visitors(server)) - today) == 1
        assert server.rows("select count(*), min(day) = (now() at time zone 'UTC')::date from ops.daily_salts") == [
            (1, True)
        ]


def test_address_and_user_agent_are_in_no_table_and_no_log(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    with running_ingest(postgres_server, secrets, tmp_path, {}) as server:
        events = [
            page_view(),
            page_view(event_type="identify", payload={"identity": {"external_id": "anna"}}),
            {"a": 1},
        ]
        assert send(server, events).json()["accepted"] == 1
        httpx.get(f"{server.url}/api/pixel.gif", params={"key": server.site_key, "cookieless": "1"}, headers=VISITOR)
        send(server, [page_view()], "&cookieless=1&key=no")
        with connect(server.database_url) as owner:
            assert _content(owner, "public.events")
            for (table,) in owner.execute(
                "select format('%I.%I', schemaname, tablename) from pg_tables"
                " where schemaname in ('public', 'archive', 'ops', 'ml')"
            ).fetchall():
                assert "203.0.113" not in _content(owner, table), table
                assert "AppleWebKit" not in _content(owner, table), table
        for file in (server.folder / "data").rglob("*"):
            if file.is_file():
                assert b"203.0.113" not in file.read_bytes(), file
                assert b"AppleWebKit" not in file.read_bytes(), file
        assert "203.0.113" not in server.log.read_text()
        assert "AppleWebKit" not in server.log.read_text()


def _content(owner: psycopg.Connection, table: str) -> str:
    return "\n".join(row for (row,) in owner.execute(f"select t::text from {table} as t".encode()))


def test_events_without_postgres_keep_the_visitor_of_the_day(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    """Events on the spool have the ID of events in Postgres, and no address waits on the disk."""
    with running_ingest(postgres_server, secrets, tmp_path, {}) as server:
        send(server, [page_view()])
        with connect(postgres_server.url("postgres")) as admin:
            database = f"shared_{tmp_path.name}"
            admin.execute(f"alter database {database} allow_connections false".encode())
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])
            answer = send(server, [page_view()])
            assert (answer.status_code, answer.json().get("spooled")) == (202, 1)
            for file in (server.folder / "data" / "spool").iterdir():
                assert b"203.0.113" not in file.read_bytes()
                assert b"AppleWebKit" not in file.read_bytes()
            admin.execute(f"alter database {database} allow_connections true".encode())
        deadline = time.monotonic() + 20
        while len(visitors(server)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(visitors(server)) == 2
        assert len(set(visitors(server))) == 1


def test_a_start_without_postgres_loses_no_cookieless_event(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    with running_ingest(postgres_server, secrets, tmp_path, {}) as server:
        assert server.stop() == 0
        with connect(postgres_server.url("postgres")) as admin:
            database = f"shared_{tmp_path.name}"
            admin.execute(f"alter database {database} allow_connections false".encode())
            server.start()
            event_id = str(uuid4())
            assert send(server, [page_view(event_id=event_id)]).json().get("spooled") == 1
            assert send(server, [page_view()]).json().get("spooled") == 1
            admin.execute(f"alter database {database} allow_connections true".encode())
        deadline = time.monotonic() + 30
        while len(visitors(server)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(set(visitors(server))) == 1
        assert server.rows("select event_id from public.events where event_id = %s", event_id) == [(UUID(event_id),)]
