"""The two privacy endpoints (export and erase), which require the service key."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import httpx

from tests.ingest_server import IngestServer
from tests.postgres.landed import count, event
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.kit.secret_store import Secrets

VISITOR = "visitor/17 ä"


def test_visitor_is_exported_and_erased_over_http(database_url: str, secrets: Secrets, tmp_path: Path) -> None:
    server = IngestServer(database_url, secrets, tmp_path, application="private")
    server.add_site("shop", "pk")
    with connect(database_url) as owner:
        land(owner, [event(user_id=VISITOR), event(user_id="somebody else")])
    server.start()
    try:
        person = f"{server.url}/api/sites/shop/users/{quote(VISITOR, safe='')}"
        key = {"Authorization": f"Bearer {secrets.service_key}"}
        for wrong in ({}, {"Authorization": f"Bearer {secrets.reader_key}"}, {"apikey": "x"}):
            for answer in (httpx.get(f"{person}/export", headers=wrong), httpx.delete(person, headers=wrong)):
                assert (answer.status_code, answer.json()["code"]) == (401, "key_required")

        document = httpx.get(f"{person}/export", headers=key, timeout=60).json()
        assert document["visitor_ids"] == [VISITOR]
        held = {place["place"]: place["rows"] for place in document["held"]}
        assert [row["user_id"] for row in held["public.events"]] == [VISITOR]

        planned = httpx.delete(person, params={"dry_run": True}, headers=key, timeout=60).json()
        done = httpx.delete(person, headers=key, timeout=60).json()
        assert (planned["dry_run"], planned["removed"]["public.events"]) == (True, 1)
        assert (done["removed"]["public.events"], done["left"]) == (1, 0)
        assert httpx.get(f"{person}/export", headers=key, timeout=60).json()["held"] == []
        with connect(database_url) as owner:
            assert count(owner, "events") == 1

        unknown = httpx.delete(f"{server.url}/api/sites/shpo/users/x", headers=key)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_site")
        assert httpx.delete(f"{server.url}/api/sites/shop/users/{'x' * 129}", headers=key).status_code == 422
        assert httpx.delete(f"{server.url}/api/sites/shop/users/a%00b", headers=key).status_code == 422
        described = httpx.get(f"{server.url}/openapi.json").json()["paths"]
        assert {
            "/api/sites/{site_id}/users/{user_id}",
            "/api/sites/{site_id}/users/{user_id}/export",
        } <= described.keys()
    finally:
        server.kill()
    assert VISITOR not in server.log.read_text()
