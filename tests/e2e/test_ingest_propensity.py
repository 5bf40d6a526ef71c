"""The propensity endpoint of the private API."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.ingest_server import IngestServer
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets

AS_OF = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def private(
    postgres_server: EmbeddedPostgres, database_url: str, secrets: Secrets, tmp_path: Path
) -> Iterator[IngestServer]:
    server = IngestServer(database_url, secrets, tmp_path, application="private")
    visitors = [(f"visitor-{number:02}", number / 25) for number in range(24)] + [("=cmd|' /C calc'!A0", 0.99)]
    with connect(database_url) as connection:
        for as_of in (AS_OF, AS_OF - timedelta(days=1)):
            for user_id, score in visitors:
                band = "hot" if score > 0.9 else "warm" if score > 0.5 else "cold"
                connection.execute(
                    "insert into ml.propensity_scores"
                    " (site_id, user_id, as_of, score, decile, band, reasons, model_version)"
                    " values ('shop', %s, %s, %s, 1, %s, '{came back often}', 'v1')",
                    [user_id, as_of, score, band],
                )
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_scores_need_a_key_and_are_paginated_filtered_and_exported(private: IngestServer, secrets: Secrets):
    url, key = f"{private.url}/api/propensity", {"Authorization": f"Bearer {secrets.reader_key}"}
    for wrong in ({}, {"Authorization": "Bearer no"}, {"apikey": "\u00e9".encode("latin-1")}):
        assert httpx.get(url, params={"site_id": "shop"}, headers=wrong).status_code == 401

    def get(**params: str | float) -> httpx.Response:
        return httpx.get(url, params={"site_id": "shop"} | params, headers=key)

    everything = get(limit=1000).json()
    assert datetime.fromisoformat(everything["as_of"]) == AS_OF
    assert len(everything["scores"]) == 25
    assert everything["next_cursor"] is None

    pages, answer = [], get(limit=10)
    while True:
        pages += answer.json()["scores"]
        if answer.json()["next_cursor"] is None:
            break
        answer = httpx.get(private.url + answer.links["next"]["url"], headers=key)
    assert pages == everything["scores"]
    assert [score["score"] for score in pages] == sorted((score["score"] for score in pages), reverse=True)

    assert [score["user_id"] for score in get(band="hot").json()["scores"]] == ["=cmd|' /C calc'!A0", "visitor-23"]
    assert {score["score"] >= 0.5 for score in get(min_score=0.5).json()["scores"]} == {True}
    assert get(site_id="elsewhere").json()["scores"] == []

    text = get(format="csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 25
    # a leading quote stops a spreadsheet from running the text as a formula
    assert rows[0]["user_id"] == "'=cmd|' /C calc'!A0"
    assert httpx.get(url, params={"site_id": "shop"}, headers=key | {"Accept": "text/csv"}).text == text

    for wrong in ({"band": "x"}, {"limit": 0}, {"min_score": "nan"}, {"cursor": "x"}, {"target": "a b"}):
        answer = get(**wrong)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert get(site_id="a\u0000b").json()["scores"] == []


def test_site_is_selected_by_site_id_or_the_deprecated_site_parameter(private: IngestServer, secrets: Secrets):
    def get(**params: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secrets.reader_key}"}
        return httpx.get(f"{private.url}/api/propensity", params=params, headers=headers)

    answer = get(site_id="shop", limit="1")
    assert (answer.status_code, answer.json()["site_id"], len(answer.json()["scores"])) == (200, "shop", 1)
    assert get(site="shop", limit="1").json() == answer.json()
    assert get(site="shop", site_id="shop", limit="1").json() == answer.json()
    for wrong, code in (({}, "missing_site"), ({"site": "shop", "site_id": "other"}, "conflicting_sites")):
        assert (get(**wrong).status_code, get(**wrong).json()["code"]) == (422, code)
