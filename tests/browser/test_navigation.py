"""Single-page navigation, outbound links, excluded pages and engaged time."""

import pytest
from playwright.sync_api import Page

from tests.browser.actions import hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import TALL, Site


def test_history_navigation_records_page_views(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", TALL + '<form id="f"><input name="a"></form>'))
    page.fill("[name=a]", "x")
    page.evaluate("history.pushState({}, '', '/catalogue'); document.title = 'Catalogue'")
    page.wait_for_timeout(200)
    page.evaluate("history.replaceState({}, '', '/catalogue#top')")
    page.evaluate("history.back()")
    page.wait_for_url(site.url("/"))
    page.wait_for_timeout(200)
    hide(page)
    first, catalogue, back = api.wait_for("page_view", count=3)
    assert [view["page_url"] for view in (first, catalogue, back)] == [
        site.url("/"), site.url("/catalogue"), site.url("/")
    ]  # fmt: skip
    assert catalogue["referrer"] == site.url("/")
    assert catalogue["page_title"] == "Catalogue"
    assert len({view["session_id"] for view in (first, catalogue, back)}) == 1
    leaves = api.wait_for("page_leave", count=3)
    assert [leave["payload"]["page_view_id"] for leave in leaves] == [
        view["payload"]["page_view_id"] for view in (first, catalogue, back)
    ]
    [abandon] = api.of_type("form_abandon")
    assert abandon["payload"]["page_view_id"] == first["payload"]["page_view_id"]


@pytest.mark.parametrize(("options", "views"), [("", 1), ("data-hash", 2)])
def test_hash_change_is_a_page_view_only_with_data_hash(
    page: Page, site: Site, api: RealApi, options: str, views: int
) -> None:
    open_page(page, site.page("/", options=options))
    page.evaluate("location.hash = '#/cart'")
    page.wait_for_timeout(200)
    hide(page)
    api.wait_for("page_leave", count=views)
    assert len(api.of_type("page_view")) == views


@pytest.mark.parametrize(
    ("href", "recorded"),
    [
        ("https://elsewhere.example/page", [("outbound_click", "https://elsewhere.example/page")]),
        ("tel:+78001234567", [("outbound_click", "tel:")]),
        ("mailto:shop@example.com", [("outbound_click", "mailto:")]),
        ("/prices.pdf?v=2", [("file_download", "{site}/prices.pdf")]),
        ("https://elsewhere.example/catalogue.ZIP", [("file_download", "https://elsewhere.example/catalogue.ZIP")]),
        ("/about", []),
        ("#popup:form", []),
        ("javascript:void(0)", []),
        ("http://www.shop.localhost/", []),
    ],
)
def test_outbound_links_and_downloads_are_recorded(
    page: Page, site: Site, api: RealApi, href: str, recorded: list[tuple[str, str]]
) -> None:
    link = f'<a href="{href}" onclick="event.preventDefault()"><b id="b">Go</b></a>'
    open_page(page, site.page("/", link))
    page.click("#b")
    hide(page)
    api.wait_for("page_leave")
    found = api.of_type("outbound_click", "file_download")
    expected = [(event_type, url.replace("{site}", site.url(""))) for event_type, url in recorded]
    assert [(event["event_type"], event["payload"]["link"]["url"]) for event in found] == expected


@pytest.mark.parametrize(
    ("path", "counted"), [("/admin/users", False), ("/admin", True), ("/draft", False), ("/drafts", True)]
)
def test_excluded_pages_record_no_events(page: Page, site: Site, api: RealApi, path: str, counted: bool) -> None:
    open_page(page, site.page(path, options='data-exclude="/admin/*, /draft"'))
    page.evaluate("tildaAnalytics.track('signup')")
    hide(page)
    site.page("/end")
    open_page(page, site.url("/end"))
    page.evaluate("tildaAnalytics.track('end')")
    hide(page)
    api.wait_for("end")
    assert len(api.of_type("page_view")) == 1 + counted
    assert len(api.of_type("signup")) == counted


def test_engaged_time_excludes_idle_time(page: Page, site: Site, api: RealApi) -> None:
    page.clock.install()
    open_page(page, site.page("/", TALL))
    page.clock.fast_forward(100_000)
    page.mouse.move(10, 10)
    page.clock.fast_forward(5_000)
    page.mouse.move(20, 20)
    page.clock.fast_forward(5_000)
    hide(page)
    [leave] = api.wait_for("page_leave")
    timing = leave["payload"]["timing"]
    assert 110 <= timing["timeOnPage"] < 120
    assert 40 <= timing["engagedTime"] < 45, "30 s after the last activity, plus twice 5 s"


def test_changes_of_the_query_are_no_page_views(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", options='data-query="page"'))
    page.evaluate("for (let n = 0; n < 30; n++) history.replaceState({}, '', `/?position=${n}`)")
    page.wait_for_timeout(200)
    page.evaluate("history.pushState({}, '', '/?page=2&position=9')")
    page.wait_for_timeout(200)
    hide(page)
    api.wait_for("page_leave", count=2)
    assert len(api.of_type("page_view")) == 2


def test_page_leave_contains_title_and_height_of_the_page_that_was_left(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", TALL))
    page.evaluate(
        """() => {
            history.pushState({}, '', '/short');
            document.title = 'Short';
            document.body.innerHTML = '<p>Short</p>';
        }"""
    )
    page.wait_for_timeout(300)
    hide(page)
    tall, short = api.wait_for("page_leave", count=2)
    assert (tall["page_title"], short["page_title"]) == ("Page /", "Short")
    assert tall["payload"]["page"]["height"] > 5000 > short["payload"]["page"]["height"]


def test_prerendered_page_counts_when_it_is_shown(page: Page, site: Site, api: RealApi) -> None:
    # Playwright's Chromium prerenders no page, so this script makes the document say that it is prerendered.
    page.add_init_script("Object.defineProperty(document, 'prerendering', { value: true, configurable: true })")
    page.goto(site.page("/"))
    page.wait_for_timeout(1500)
    assert api.events == []
    page.evaluate("delete document.prerendering; document.dispatchEvent(new Event('prerenderingchange'))")
    api.wait_for("page_view")
    hide(page)
    [leave] = api.wait_for("page_leave")
    assert leave["payload"]["timing"]["timeOnPage"] < 1.4, "time begins when the page is shown"
