"""The unmodified Supabase client against the API."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.ingest_server import IngestServer, page_view

FOLDER = Path(__file__).parent / "supabase"


@pytest.fixture(scope="module")
def client() -> Path:
    """Install the locked Supabase client and return the path of the script that uses it."""
    if not (FOLDER / "node_modules" / ".package-lock.json").exists():
        npm = shutil.which("npm")
        assert npm is not None, "this test needs Node 20 with npm"
        done = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    return FOLDER / "client.mjs"


def test_supabase_client_inserts_and_upserts_but_cannot_read(client: Path, shared_ingest: IngestServer):
    events = [page_view(page_title=f"supabase {number}") for number in range(8)]
    done = subprocess.run(
        ["node", str(client), shared_ingest.url, shared_ingest.site_key, json.dumps(events)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    saw: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert {name: (step["status"], step["code"]) for name, step in saw.items()} == {
        "insertOne": (201, None),
        "insertMany": (201, None),
        "insertAgain": (201, None),
        "upsertIgnoring": (201, None),
        "upsertMerging": (201, None),
        "insertBad": (400, "23514"),
        "insertUnknownColumn": (400, "PGRST204"),
        "insertOtherSite": (401, "42501"),
        "insertReturning": (401, "42501"),
        "read": (401, "42501"),
        "insertUsers": (201, None),
        "upsertUser": (201, None),
        "insertUserTwice": (201, None),
        "insertNamelessUser": (400, "23502"),
        "insertSession": (201, None),
        "upsertSession": (201, None),
        "insertBadSession": (400, "22P02"),
        "insertUnknownSessionColumn": (400, "PGRST204"),
        "readSessions": (401, "42501"),
        "stranger": (401, "unknown_key"),
    }
    assert all(step["data"] is None for step in saw.values())
    stored = shared_ingest.rows(
        "select page_title, source, page_host from public.events where page_title like 'supabase %%' order by 1"
    )
    assert stored == [(f"supabase {number}", "supabase", "shop.example") for number in range(6)]
    users = shared_ingest.rows(
        "select user_id, first_seen_at > now() - interval '1 hour', event_count from public.users"
        " where user_id like 'supabase-%%' order by 1"
    )
    assert users == [("supabase-1", True, 0), ("supabase-2", True, 0)]
    sessions = shared_ingest.rows(
        "select user_id, browser, os, event_count from public.sessions where session_id::text like '5e551011%%'"
    )
    assert sessions == [("supabase-1", "Firefox", "Linux", 0)], (
        "an upsert fills empty columns and keeps the other values"
    )


def post(server: IngestServer, body: object, query: str = "", **headers: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/rest/v1/events{query}", json=body, headers={"apikey": server.site_key} | headers, timeout=30
    )


def test_visit_and_tab_are_columns_of_an_insert(shared_ingest: IngestServer):
    row = page_view(visit_id=str(uuid4()), tab_id=str(uuid4()))
    assert post(shared_ingest, row).status_code == 201
    stored = "select visit_id::text, tab_id::text from public.events where event_id = %s"
    assert shared_ingest.rows(stored, row["event_id"]) == [(row["visit_id"], row["tab_id"])]
    refused = post(shared_ingest, page_view(visit_id="first visit"))
    assert (refused.status_code, refused.json()["code"]) == (400, "22P02")


def test_error_responses_match_postgrest(shared_ingest: IngestServer):
    created = post(shared_ingest, page_view())
    assert (created.status_code, created.content) == (201, b"")
    for body, query, headers, status, code in (
        ([page_view(), {"event_type": "x"}], "", {}, 400, "PGRST102"),  # the objects have different keys
        ("text", "", {}, 400, "PGRST102"),
        ([[]], "", {}, 400, "PGRST102"),
        (page_view(event_id="x"), "", {}, 400, "22P02"),
        (page_view(created_at="yesterday"), "", {}, 400, "22P02"),
        (page_view(), "?on_conflict=user_id", {}, 400, "42P10"),
        (page_view(), "?columns=a;b", {}, 400, "PGRST100"),
        (page_view(), '?columns="colour"', {}, 400, "PGRST204"),
        (page_view(), "", {"Content-Profile": "ops"}, 406, "PGRST106"),
        (page_view(), "", {"Prefer": "return=representation"}, 401, "42501"),
        ([page_view()] * 501, "", {}, 413, "54000"),
    ):
        answer = post(shared_ingest, body, query, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert set(answer.json()) == {"code", "details", "hint", "message"}
    assert post(shared_ingest, []).status_code == 201


def test_profiles_of_other_sites_or_with_invalid_values_are_refused(shared_ingest: IngestServer):
    def answer(table: str, text: str) -> tuple[int, str]:
        answer = httpx.post(
            f"{shared_ingest.url}/rest/v1/{table}",
            content=text,
            headers={"apikey": shared_ingest.site_key, "Content-Type": "application/json"},
            timeout=30,
        )
        return answer.status_code, answer.json()["code"]

    assert answer("users", '{"site_id": "other", "user_id": "u"}') == (401, "42501")
    assert answer("users", r'{"user_id": "a\u0000b"}') == (400, "22P05")
    assert answer("users", r'{"user_id": "a\ud800b"}') == (400, "PGRST102")
    assert answer("users", json.dumps({"user_id": "x" * 129})) == (400, "23514")
    assert answer("users", '{"user_id": "u", "first_seen_at": "yesterday-ish"}') == (400, "22007")
    assert answer("sessions", '{"session_id": null}') == (400, "23502")
    assert answer("sessions", json.dumps({"session_id": str(uuid4()), "os": "x" * 200})) == (400, "23514")
    assert shared_ingest.rows("select from public.users where user_id in ('u', %s)", "x" * 129) == []


def test_columns_parameter_selects_the_stored_columns(shared_ingest: IngestServer):
    event = page_view(page_title="not asked for")
    assert post(shared_ingest, [event], '?columns="event_id","event_type"').status_code == 201
    assert shared_ingest.rows(
        "select page_title, user_id from public.events where event_id = %s", event["event_id"]
    ) == [(None, None)]


def test_preflight_allows_the_supabase_client_headers(shared_ingest: IngestServer):
    names = "apikey,authorization,content-profile,content-type,prefer,x-client-info"
    answer = httpx.options(
        f"{shared_ingest.url}/rest/v1/events",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": names,
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == names
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
