"""One real Chromium a run, one context a test, a website and an API on other ports and names."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from demo.browser import launch, user_agent
from tests.browser.site import Site
from tests.browser.stub_api import StubApi


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
    context = browser.new_context(user_agent=user_agent(browser), viewport={"width": 1000, "height": 800})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which no script may fail."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


@pytest.fixture
def stub_api() -> Iterator[StubApi]:
    api = StubApi()
    yield api
    api.stop()


@pytest.fixture
def site(stub_api: StubApi) -> Iterator[Site]:
    site = Site(stub_api.url)
    yield site
    site.stop()
