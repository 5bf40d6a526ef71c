"""The `/docs` page of the private API works in a browser without access to other servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request

from tests.ingest_server import IngestServer
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


@pytest.fixture
def private_api(postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path) -> Iterator[IngestServer]:
    server = IngestServer(postgres_server.url("tilda_template"), secrets, tmp_path, application="private")
    server.start()
    yield server
    server.kill()


def test_docs_page_calls_the_api_and_loads_only_local_files(
    page: Page, private_api: IngestServer, secrets: Secrets
) -> None:
    requests: list[Request] = []
    console_errors: list[str] = []
    page.on("request", lambda request: requests.append(request))  # noqa: PLW0108 - Playwright marks the function
    page.on(
        "console", lambda message: console_errors.append(message.text) if message.type in {"error", "warning"} else None
    )
    answer = page.goto(f"{private_api.url}/docs")
    page.get_by_text("/api/sites/{site_id}/users/{user_id}/export").wait_for()
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#auth-bearer-value").fill(secrets.reader_key)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close", exact=True).first.click()
    page.get_by_text("/api/propensity").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_placeholder("site_id").fill("shop")
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table").get_by_text('"scores"').wait_for()  # the response of the API is shown

    over_network = [one for one in requests if not one.url.startswith("data:")]  # without the images in the style sheet
    assert {urlsplit(one.url).netloc for one in over_network} == {urlsplit(private_api.url).netloc}
    answers = [(urlsplit(one.url).path, response.status) for one in over_network if (response := one.response())]
    assert {status for _, status in answers} == {200}
    assert {path for path, _ in answers} >= {
        "/docs",
        "/openapi.json",
        "/docs/assets/swagger-ui-bundle.js",
        "/docs/assets/swagger-ui.css",
        "/api/propensity",
    }
    assert answer is not None
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert console_errors == []  # a violation of the content security policy would be logged here
