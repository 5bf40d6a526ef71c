"""The rules by which a session continues or a new session starts."""

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from demo.browser import launch
from tests.browser.actions import READY, hide, open_page, show
from tests.browser.event_log import Event, RealApi
from tests.browser.site import Site
from tests.browser.stub_api import StubApi


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
    options = 'data-referrer-exclusions="tinkoff.ru partner.example"'
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


def ids(event: Event) -> tuple[str, str, str]:
    """Return the IDs of visit, session and tab."""
    return event["visit_id"], event["session_id"], event["tab_id"]


def view_in_tab(tab: Page, url: str, stub_api: StubApi) -> Event:
    """Open the URL in the tab and return the page view."""
    before = len(stub_api.of_type("page_view"))
    open_page(tab, url)
    return stub_api.wait_for("page_view", count=before + 1)[-1]


def test_tab_opened_within_a_visit_keeps_its_campaign(
    page: Page, context: BrowserContext, site: Site, api: RealApi
) -> None:
    product = site.page("/product")
    landing = site.page("/a") + "?utm_source=vk&gbraid=g1"
    open_page(page, landing, referer="https://news.example/article")
    api.wait_for("page_view")
    tab = context.new_page()
    open_page(tab, product)
    tab.evaluate("tildaAnalytics.purchase({ id: '1', amount: 5 })")
    [purchase] = api.wait_for("purchase")
    landed, opened = api.wait_for("page_view", count=2)
    assert opened["session_id"] == purchase["session_id"] != landed["session_id"]
    assert opened["payload"]["utm"] == landed["payload"]["utm"] == {"source": "vk"}
    assert opened["payload"]["click_ids"] == {"gbraid": "g1"}
    assert opened["payload"]["visit_referrer"] == "news.example"
    assert not opened["referrer"]


def test_visit_spans_tabs_and_each_tab_has_its_session(
    page: Page, context: BrowserContext, stub_site: Site, stub_api: StubApi
) -> None:
    url = stub_site.page("/a")
    first = ids(view_in_tab(page, url, stub_api))
    again = ids(view_in_tab(page, url, stub_api))
    assert again == first
    tab = context.new_page()
    second = ids(view_in_tab(tab, url, stub_api))
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert second[2] != first[2]


def test_campaign_in_one_tab_starts_a_visit_and_leaves_the_other_session_alone(
    page: Page, context: BrowserContext, stub_site: Site, stub_api: StubApi
) -> None:
    url = stub_site.page("/a")
    first = ids(view_in_tab(page, url, stub_api))
    tab = context.new_page()
    second = ids(view_in_tab(tab, url, stub_api))
    third = ids(view_in_tab(tab, url + "?utm_source=vk", stub_api))
    assert third[0] != second[0], "another campaign starts a visit"
    assert third[1] != second[1], "a visit that a page of the tab starts begins a session"
    assert third[2] == second[2]
    page.evaluate("tildaAnalytics.track('signup')")
    [signup] = stub_api.wait_for("signup")
    assert ids(signup) == (third[0], *first[1:])


def test_idle_tab_starts_a_visit_and_a_session_but_stays_the_same_tab(
    page: Page, stub_site: Site, stub_api: StubApi
) -> None:
    page.clock.install()
    visit, session, tab = ids(view_in_tab(page, stub_site.page("/a") + "?utm_source=vk", stub_api))
    page.clock.fast_forward(31 * 60 * 1000)
    page.evaluate("tildaAnalytics.track('signup')")
    page.clock.fast_forward(10)
    [signup] = stub_api.wait_for("signup")
    assert signup["visit_id"] != visit
    assert signup["session_id"] != session
    assert signup["tab_id"] == tab


def test_tab_that_the_browser_discarded_keeps_session_tab_and_source(
    page: Page, stub_site: Site, stub_api: StubApi
) -> None:
    # A discarded tab ends without `pagehide` and is reloaded when the visitor returns to it.
    page.add_init_script("addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true)")
    before = view_in_tab(page, stub_site.page("/a") + "?utm_source=vk", stub_api)
    page.reload()
    after = stub_api.wait_for("page_view", count=2)[-1]
    assert ids(after) == ids(before)
    assert after["payload"]["utm"] == {"source": "vk"}


def test_window_opened_by_a_page_is_another_tab(
    page: Page, context: BrowserContext, stub_site: Site, stub_api: StubApi
) -> None:
    first = ids(view_in_tab(page, stub_site.page("/a"), stub_api))
    stub_site.page("/b")
    with context.expect_page():
        page.evaluate("window.open('/b')")
    second = ids(stub_api.wait_for("page_view", count=2)[-1])
    assert second[0] == first[0]
    assert second[1] != first[1]
    assert second[2] != first[2]


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
