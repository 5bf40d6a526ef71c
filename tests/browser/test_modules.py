"""The optional modules of the collector, each in a separate file that loads after consent."""

import itertools
import re

from playwright.sync_api import Page, Route

from tests.browser.actions import hide, open_page, show
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import TALL, Site
from tests.browser.stub_api import StubApi


def test_fingerprint_is_sent_once_a_session_and_is_not_the_visitor_id(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/", options="data-fingerprint")
    open_page(page, url)
    [event] = api.wait_for("identify", seconds=20)
    fingerprint = event["payload"]["identity"]["fingerprint"]
    assert re.fullmatch("[0-9a-f]{32}", fingerprint)
    assert event["user_id"] != fingerprint
    open_page(page, url)
    page.wait_for_timeout(1000)
    hide(page)
    api.wait_for("page_view", count=2)
    assert len(api.of_type("identify")) == 1


def test_web_vitals_are_sent_when_the_page_is_hidden(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", f"<h1>Bread</h1><button>Press</button>{TALL}", options="data-web-vitals"))
    wait_until(lambda: page.evaluate("performance.getEntriesByName('first-contentful-paint').length"))
    page.click("button")
    page.wait_for_timeout(500)
    hide(page)
    [event] = api.wait_for("web_vitals")
    vitals = event["payload"]["web_vitals"]
    assert {"fcp", "lcp", "ttfb", "cls"} <= vitals.keys()
    assert 0 < vitals["ttfb"] <= vitals["fcp"] <= vitals["lcp"] < 60_000
    show(page)
    hide(page)
    api.wait_for("page_leave", count=2)
    sent_vitals = [event["payload"]["web_vitals"] for event in api.of_type("web_vitals")]
    assert all(one != next_one for one, next_one in itertools.pairwise(sent_vitals)), (
        "unchanged values are not sent again"
    )


def test_modules_load_only_after_consent(page: Page, site: Site, api: RealApi) -> None:
    requested_files: list[str] = []
    page.on("request", lambda request: requested_files.append(request.url.partition("?")[0].rpartition("/")[2]))
    open_page(page, site.page("/", options='data-fingerprint data-web-vitals data-consent="opt-in"'))
    page.wait_for_load_state("networkidle")
    assert "collector.js" in requested_files
    assert not {"collector.fingerprint.js", "collector.vitals.js"} & set(requested_files)
    page.evaluate("tildaAnalytics.consent(true)")
    wait_until(
        lambda: {"collector.fingerprint.js", "collector.vitals.js"} <= set(requested_files) or page.wait_for_timeout(50)
    )


def test_field_values_typed_before_the_module_loads_are_sent(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    form = (
        '<form id="f" onsubmit="return false"><input name="city"><input name="late"><input name="preset" value="x">'
        '<select name="size"><option>small</option><option>large</option></select><button>Send</button></form>'
    )
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/collector.fields.js", hold)
    open_page(page, stub_site.page("/", form, options='data-form-fields="city late preset size"'))
    page.fill("[name=city]", "Kazan")
    wait_until(lambda: held or page.wait_for_timeout(50))
    with page.expect_response("**/collector.fields.js"):
        held[0].continue_()
    page.wait_for_timeout(300)
    page.fill("[name=late]", "yes")
    page.click("button")
    [submit] = stub_api.wait_for("form_submit")
    assert submit["payload"]["form"]["fields"] == {"city": "Kazan", "late": "yes"}


def test_modules_load_on_a_page_that_demands_trusted_types(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    policy = "require-trusted-types-for 'script'; trusted-types tilda-analytics"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    with page.expect_response("**/collector.vitals.js"):
        page.goto(stub_site.page("/", head=head, options="data-web-vitals"))


def test_modules_load_on_a_page_that_demands_a_nonce(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    head = """<meta http-equiv="Content-Security-Policy" content="script-src 'nonce-abc'">"""
    with page.expect_response("**/collector.vitals.js"):
        page.goto(stub_site.page("/", head=head, options='data-web-vitals nonce="abc"'))
