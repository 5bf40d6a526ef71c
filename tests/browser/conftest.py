"""Fixtures: one Chromium for the run, one context for each test, a website, and an API on another origin."""

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from psycopg import sql

from demo.browser import launch
from tests.browser.event_log import RealApi
from tests.browser.site import Site
from tests.browser.stub_api import StubApi
from tests.ingest_server import IngestServer
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets

TEMPLATE = "tilda_template"


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright, extra_flags=("--host-resolver-rules=MAP *.test 127.0.0.1",))
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Open a page and fail the test if a script on the page throws an error."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


@pytest.fixture(scope="session")
def real_server(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IngestServer]:
    """Run one ingest API on one database for all browser tests. Each test has a separate site."""
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(sql.SQL("create database browser_tier template {}").format(sql.Identifier(TEMPLATE)))
    url = replace_in_url(postgres_server.url("postgres"), database="browser_tier")
    settings = {"RATE_LIMIT_PER_IP": "off", "BOT_EXCEPTIONS": "HeadlessChrome"}
    server = IngestServer(url, secrets, tmp_path_factory.mktemp("ingest"), settings)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def api(real_server: IngestServer) -> RealApi:
    """Return the real ingest API with a new site for this test."""
    return RealApi(real_server, f"site-{uuid4().hex[:12]}")


@pytest.fixture
def site(api: RealApi) -> Iterator[Site]:
    """Serve a website that sends events to the real API."""
    with closing(Site(api)) as site:
        yield site


@pytest.fixture
def stub_api() -> Iterator[StubApi]:
    api = StubApi()
    yield api
    api.stop()


@pytest.fixture
def stub_site(stub_api: StubApi) -> Iterator[Site]:
    """Serve a website that sends events to the recording stub."""
    with closing(Site(stub_api)) as site:
        yield site
