"""The main paths of the collector in Firefox and in WebKit, with real input and the real API."""

from collections.abc import Iterator

import pytest

from tests.browser import webdriver
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import TALL, Site
from tests.browser.webdriver import BrowserWindow

READY = "window.tildaAnalytics && window.tildaAnalytics.extend"
VISITOR = "localStorage.analytics_user_id"
SESSION = "sessionStorage.analytics_session_id"
QUEUE = "Object.keys(localStorage).filter((key) => key.startsWith('analytics_queue:')).length"

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture(params=["firefox", "webkit"], scope="module")
def window(request: pytest.FixtureRequest) -> Iterator[BrowserWindow]:
    if missing := webdriver.missing_programs(request.param):
        pytest.skip(f"not installed: {', '.join(missing)}")
    with getattr(webdriver, request.param)() as window:
        yield window


def open_page(window: BrowserWindow, url: str) -> None:
    window.open(url)
    window.wait_for(READY)


def test_page_view_click_and_scroll_are_stored(window: BrowserWindow, site: Site, api: RealApi) -> None:
    open_page(window, site.page("/", f'<button id="buy">Buy bread</button>{TALL}') + "?utm_source=news")
    window.click("#buy")
    window.evaluate("window.scrollTo(0, 2500)")
    [view] = api.wait_for("page_view")
    [click] = api.wait_for("click", seconds=15)
    [scroll] = api.wait_for("scroll", seconds=15)
    assert (view["page_title"], view["payload"]["utm"]) == ("Page /", {"source": "news"})
    assert (click["target_element"], click["target_text"]) == ("#buy", "Buy bread")
    assert 50 <= scroll["payload"]["scroll"]["scrollPercent"] < 100
    assert len({event["session_id"] for event in (view, click, scroll)}) == 1


def test_submitted_form_is_stored_without_its_values(window: BrowserWindow, site: Site, api: RealApi) -> None:
    form = '<form action="/thanks" method="post"><input name="email"><button id="send">Send</button></form>'
    site.page("/thanks")
    open_page(window, site.page("/", form))
    window.type("input", "ann@example.com")
    window.click("#send")
    window.wait_for("location.pathname === '/thanks'")
    api.wait_for("form_start", "form_submit", count=2, seconds=15)
    assert not any("ann@example.com" in str(event) for event in api.events)


def test_events_recorded_just_before_a_tab_closes_are_not_lost(window: BrowserWindow, site: Site, api: RealApi) -> None:
    url = site.page("/")
    window.open_tab()
    open_page(window, url)
    for number in range(3):
        window.evaluate(f"void tildaAnalytics.track('mark', {{ number: {number} }})")
    window.close_tab()
    open_page(window, url)  # delivers what the closed tab could not
    marks = api.wait_for("mark", count=3, seconds=30)
    assert sorted(mark["payload"]["custom"]["number"] for mark in marks) == [0, 1, 2]


def test_reload_keeps_the_session_and_a_new_tab_starts_one(window: BrowserWindow, site: Site) -> None:
    url = site.page("/")
    open_page(window, url)
    visitor, session = window.evaluate(VISITOR), window.evaluate(SESSION)
    assert visitor
    assert session
    window.evaluate("void location.reload()")
    window.wait_for(READY)
    assert (window.evaluate(VISITOR), window.evaluate(SESSION)) == (visitor, session)
    window.open_tab()
    open_page(window, url)
    assert window.evaluate(VISITOR) == visitor
    assert window.evaluate(SESSION) != session
    window.close_tab()


def test_address_changes_without_loading_are_page_views(window: BrowserWindow, site: Site, api: RealApi) -> None:
    url = site.page("/")
    open_page(window, url)
    window.evaluate("history.pushState(null, '', '/next')")
    views = api.wait_for("page_view", count=2, seconds=15)
    assert [view["page_url"] for view in views] == [url, site.url("/next")]


def test_outage_of_the_api_delays_events_and_loses_none(window: BrowserWindow, site: Site, api: RealApi) -> None:
    open_page(window, site.page("/"))
    api.wait_for("page_view", seconds=15)
    api.server.kill()
    window.evaluate("void tildaAnalytics.purchase({ id: 'o1', amount: 5 })")
    wait_until(lambda: window.evaluate(QUEUE) >= 1)
    api.server.start()
    [purchase] = api.wait_for("purchase", seconds=60)
    assert purchase["payload"]["order"] == {"id": "o1", "amount": 5}
    wait_until(lambda: window.evaluate(QUEUE) == 0, seconds=30)


def test_visitor_who_refuses_is_not_recorded(window: BrowserWindow, site: Site, api: RealApi) -> None:
    site.page("/", options='data-consent="opt-in"')
    window.open(site.url("/", host="refused.localhost"))
    window.wait_for("window.tildaAnalytics && window.tildaAnalytics.consent")
    window.evaluate("void tildaAnalytics.track('mark')")
    assert window.evaluate("Object.keys(localStorage)") == []
    window.evaluate("void tildaAnalytics.consent(true)")
    api.wait_for("page_view", seconds=15)
    assert api.of_type("mark") == []
