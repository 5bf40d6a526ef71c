"""The two builds of the collector, and the settings that the API puts into a build."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.actions import hide, open_page
from tests.browser.event_log import wait_until
from tests.browser.site import Site
from tests.browser.stub_api import StubApi

DIST = Path(__file__).parents[2] / "collector" / "dist"
TILDA = "<script>window.Tilda = { sendEventToStatistics() {} };</script>"


def serve_build(page: Page, name: str, settings: dict[str, str]) -> None:
    """Serve a build in place of /collector.js, with the settings of a site, as the API does."""
    code = (DIST / name).read_text(encoding="utf-8")
    assert code.endswith("({});")
    body = f"{code.removesuffix('({});')}({json.dumps(settings)});"
    page.route("**/collector.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))


@pytest.mark.parametrize("name", ["collector.base.js", "collector.shop.js"])
def test_events_go_to_the_path_of_the_settings(page: Page, stub_site: Site, stub_api: StubApi, name: str) -> None:
    serve_build(page, name, {"path": "/e"})
    open_page(page, stub_site.page("/"))
    hide(page)
    stub_api.wait_for("page_view")
    assert {request.path for request in stub_api.requests} == {f"/e?key={stub_api.site_key}"}


def test_attributes_of_the_script_tag_override_settings(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    serve_build(page, "collector.base.js", {"consent": "opt-in", "exclude": "/a*"})
    open_page(page, stub_site.page("/a", options='data-consent="opt-out"'))
    open_page(page, stub_site.page("/b", options='data-consent="opt-out"'))
    hide(page)
    wait_until(lambda: stub_api.requests)
    assert {event["page_url"] for event in stub_api.events} == {stub_site.url("/b")}


def test_build_without_a_shop_records_popups_but_no_carts(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    serve_build(page, "collector.base.js", {})
    open_page(page, stub_site.page("/", head=TILDA))
    page.evaluate("Tilda.sendEventToStatistics('/tilda/cart/add/1', 'Bread', '', '2')")
    page.evaluate("Tilda.sendEventToStatistics('/tilda/popup/rec1/', 'Popup')")
    hide(page)
    [popup] = stub_api.wait_for("popup_open")
    assert popup["payload"]["popup"] == {"id": "rec1"}
    assert stub_api.of_type("add_to_cart") == []


def test_second_copy_of_the_script_changes_nothing(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    url = stub_site.page("/")
    stub_site.pages["/"] += stub_site.snippet()
    open_page(page, url)
    hide(page)
    stub_api.wait_for("page_leave")
    assert len(stub_api.of_type("page_view")) == 1
