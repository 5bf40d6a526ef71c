"""The snippet of `tilda snippet` works in a page when a TLS proxy serves the API under a path prefix."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.actions import hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import Site
from tests.https_proxy import https_proxy
from tests.ingest_server import IngestServer
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import load_settings
from warehouse.sites.registry import get_site, set_site
from warehouse.sites.snippet import snippet


def on_localhost(snippet: str) -> str:
    """Add the attribute without which pages of localhost are not recorded."""
    return snippet.replace(" data-consent", " data-localhost data-consent")


@pytest.mark.parametrize("with_scripts", [True, False])
def test_pasted_snippet_records_a_page_view(
    browser: Browser, site: Site, api: RealApi, tmp_path: Path, *, with_scripts: bool
) -> None:
    with (
        https_proxy(api.url, tmp_path) as proxy,
        browser.new_context(ignore_https_errors=True, java_script_enabled=with_scripts) as context,
    ):
        proxy.prefix = "/stats"
        pasted = snippet(get_site(api.server.database_url, api.site_id), proxy.url, load_settings())
        assert 'data-consent="opt-out"' in pasted
        site.pages["/boots"] = f"<!doctype html><title>Boots</title>{on_localhost(pasted)}"
        page = context.new_page()
        if with_scripts:
            open_page(page, site.url("/boots"))
            hide(page)
        else:
            page.goto(site.url("/boots"))
        [view] = api.wait_for("page_view")
        assert view["page_url"] == site.url("/boots")
        assert view["source"] == ("api" if with_scripts else "pixel")


@pytest.fixture
def renamed(database_url: str, secrets: Secrets, tmp_path: Path) -> Iterator[IngestServer]:
    """Run an ingest API with other paths than the default ones, which ad blockers know."""
    paths = {"EVENTS_PATH": "/e", "COLLECTOR_PATH": "/assets/c.js", "PIXEL_PATH": "/p.gif"}
    server = IngestServer(database_url, secrets, tmp_path, paths | {"BOT_EXCEPTIONS": "HeadlessChrome"})
    server.start()
    yield server
    server.kill()


def test_collector_sends_to_a_renamed_events_path(
    browser: Browser, renamed: IngestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, the collector sent to /api/events, so another EVENTS_PATH lost every event."""
    api = RealApi(renamed, "shop")
    monkeypatch.setenv("COLLECTOR_PATH", "/assets/c.js")
    set_site(renamed.database_url, "shop", collector={"web_vitals": True})
    with (
        https_proxy(renamed.url, tmp_path) as proxy,
        closing(Site(api)) as site,
        browser.new_context(ignore_https_errors=True) as context,
    ):
        proxy.prefix = "/stats"
        pasted = snippet(get_site(renamed.database_url, "shop"), proxy.url, load_settings())
        site.pages["/boots"] = f"<!doctype html><title>Boots</title>{on_localhost(pasted)}"
        page = context.new_page()
        with page.expect_response("**/stats/assets/*.vitals.js") as module:
            open_page(page, site.url("/boots"))
        assert module.value.ok
        with page.expect_request("**/stats/e?key=pk_shop"):
            hide(page)
        assert [view["page_url"] for view in api.wait_for("page_view")] == [site.url("/boots")]
