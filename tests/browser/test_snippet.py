"""The snippet of `tilda snippet` works in a page when a TLS proxy serves the API under a path prefix."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.actions import hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import Site
from tests.https_proxy import https_proxy
from warehouse.kit.settings import load_settings
from warehouse.sites.registry import get_site
from warehouse.sites.snippet import snippet


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
        site.pages["/boots"] = f"<!doctype html><title>Boots</title>{pasted}"
        page = context.new_page()
        if with_scripts:
            open_page(page, site.url("/boots"))
            hide(page)
        else:
            page.goto(site.url("/boots"))
        [view] = api.wait_for("page_view")
        assert view["page_url"] == site.url("/boots")
        assert view["source"] == ("api" if with_scripts else "pixel")
