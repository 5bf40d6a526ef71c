"""The rules by which a session continues or a new session starts."""

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from demo.browser import launch
from tests.browser.actions import READY, hide, open_page, show
from tests.browser.event_log import RealApi
from tests.browser.site import Site


def sessions(api: RealApi, views: int) -> list[str]:
    """Wait for `views` page views and return their session IDs in order."""
    return [event["session_id"] for event in api.wait_for("page_view", count=views)]


def visit_pages(page: Page, *urls: str, referrer: str = "") -> None:
    for url in urls:
        open_page(page, url, **({"referer": referrer} if referrer else {}))
    hide(page)


def test_navigation_and_reload_keep_the_session(page: Page, site: Site, api: RealApi) -> None:
    first, second = site.page("/a", '<a id="next" href="/b">next</a>'), site.page("/b")
    open_page(page, first + "?utm_source=vk")
    page.click("#next")
    page.wait_for_url(second)
    page.wait_for_function(READY)
    page.reload()
    page.wait_for_function(READY)
    hide(page)
    assert len(set(sessions(api, 3))) == 1
    views = api.of_type("page_view")
    assert [view["payload"].get("utm") for view in views] == [{"source": "vk"}] * 3, (
        "each page view of a session has the session's campaign"
    )
    assert [view["referrer"] or "" for view in views] == ["", first + "?utm_source=vk", ""]


@pytest.mark.parametrize(
    ("second", "referrer", "begins"),
    [
        ("/b?utm_source=other", "", True),
        ("/b?utm_source=vk", "", False),
        ("/b?gclid=1", "", True),
        ("/b", "https://news.example/article", True),
        ("/b", "https://securepay.tinkoff.ru/", False),
        ("/b", "https://pay.partner.example/", False),
        ("/b", "http://www.shop.localhost/", False),
    ],
)
def test_new_campaign_or_external_referrer_starts_a_session(  # noqa: PLR0917
    page: Page, site: Site, api: RealApi, second: str, referrer: str, begins: bool
) -> None:
    options = 'data-referrer-exclusions="partner.example"'
    site.page("/b", options=options)
    open_page(page, site.page("/a", options=options) + "?utm_source=vk")
    visit_pages(page, site.url(second), referrer=referrer)
    assert (len(set(sessions(api, 2))) == 2) is begins


def test_repeated_referrer_keeps_the_session(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/a")
    visit_pages(page, url, url, referrer="https://google.com/")
    assert len(set(sessions(api, 2))) == 1


def test_session_ends_after_thirty_idle_minutes(page: Page, site: Site, api: RealApi) -> None:
    page.clock.install()
    open_page(page, site.page("/a"))
    page.evaluate("tildaAnalytics.track('before')")
    page.clock.fast_forward(29 * 60 * 1000)
    page.evaluate("tildaAnalytics.track('within')")
    page.clock.fast_forward(31 * 60 * 1000)
    page.evaluate("tildaAnalytics.track('after')")
    hide(page)
    before, within, after = api.wait_for("before", "within", "after", count=3)
    assert before["session_id"] == within["session_id"] != after["session_id"]


def test_page_leave_neither_starts_nor_extends_a_session(page: Page, site: Site, api: RealApi) -> None:
    page.clock.install()
    open_page(page, site.page("/a"))
    page.clock.fast_forward(20 * 60 * 1000)
    hide(page)
    show(page)
    page.clock.fast_forward(20 * 60 * 1000)
    hide(page)
    page.evaluate("tildaAnalytics.track('back')")
    [view] = api.wait_for("page_view")
    [back] = api.wait_for("back")
    leaves = api.wait_for("page_leave", count=2)
    assert [leave["session_id"] for leave in leaves] == [view["session_id"]] * 2
    assert back["session_id"] != view["session_id"]


@pytest.mark.parametrize("opening", ["window.open('/b')", "document.querySelector('a').click()"])
def test_new_tab_starts_a_session_even_with_an_opener(
    page: Page, context: BrowserContext, site: Site, api: RealApi, opening: str
) -> None:
    site.page("/b")
    open_page(page, site.page("/a", '<a href="/b" target="_blank" rel="opener">open</a>'))
    with context.expect_page() as opened:
        page.evaluate(opening)
    tab = opened.value
    tab.wait_for_function(READY)
    assert tab.evaluate("sessionStorage.analytics_session_id") != page.evaluate("sessionStorage.analytics_session_id")
    hide(page)
    hide(tab)
    assert len(set(sessions(api, 2))) == 2
    assert len({event["user_id"] for event in api.events}) == 1


def test_back_forward_cache_keeps_the_session(playwright: Playwright, site: Site, api: RealApi) -> None:
    browser = launch(playwright, without_flags=("--disable-back-forward-cache",))
    page = browser.new_page(user_agent="Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0.0.0 Safari/537.36")
    site.page("/b", "b")
    open_page(page, site.page("/a", "a"))
    page.evaluate("window.kept = true; addEventListener('pageshow', (e) => { window.restored = e.persisted; })")
    page.evaluate("location.href = '/b'")
    page.wait_for_url("**/b")
    page.wait_for_function(READY)
    page.evaluate("history.back()")
    # Wait for the events instead of the page: a restored page fires no load event, and an evaluation fails during the
    # navigation.
    first, second, again = api.wait_for("page_view", count=3)
    assert page.evaluate("window.kept && window.restored")
    page.evaluate("tildaAnalytics.track('signup')")
    [signup] = api.wait_for("signup")
    browser.close()
    assert {first["session_id"], second["session_id"], again["session_id"]} == {signup["session_id"]}
    assert again["page_url"] == first["page_url"]
    assert again["payload"]["page_view_id"] != first["payload"]["page_view_id"]
