"""Nothing that was recorded is lost, whatever becomes of the page, the network and the API."""

from datetime import datetime

from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import hide, open_page, queued, show
from tests.browser.event_log import wait_until
from tests.browser.site import Site
from tests.browser.stub_api import Answer, StubApi


def test_a_request_needs_no_preflight_and_names_the_site(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    hide(page)
    stub_api.wait_for("page_view")
    [request] = stub_api.requests
    assert request.path == f"/api/events?key={stub_api.site_key}"
    assert request.headers["Content-Type"].startswith("text/plain")
    assert datetime.fromisoformat(request.body["sent_at"]) >= datetime.fromisoformat(request.events[0]["created_at"])


def test_events_go_in_batches_of_ten_or_after_five_seconds(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    for number in range(9):  # the tenth event, with the page view
        page.evaluate("n => tildaAnalytics.track('step', { n })", number)
    stub_api.wait_for("step", count=9, seconds=2)
    page.evaluate("tildaAnalytics.track('last')")
    stub_api.wait_for("last", seconds=6)
    assert [len(request.events) for request in stub_api.requests] == [10, 1]


def test_a_critical_event_does_not_wait(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    page.evaluate("tildaAnalytics.purchase({ id: 'o1', amount: 12.5, currency: 'EUR' })")
    [event] = stub_api.wait_for("purchase", seconds=2)
    assert event["payload"]["order"] == {"id": "o1", "amount": 12.5, "currency": "EUR"}


def test_a_hidden_page_sends_what_it_has(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    hide(page)
    assert [event["event_type"] for event in stub_api.wait_for("page_leave", seconds=2)] == ["page_leave"]
    assert len(stub_api.requests) == 1


def test_a_closed_page_sends_what_it_has(context: BrowserContext, stub_site: Site, stub_api: StubApi) -> None:
    page = context.new_page()
    open_page(page, stub_site.page("/"))
    page.evaluate("tildaAnalytics.track('seen')")
    page.close()
    stub_api.wait_for("page_view", "seen", "page_leave", count=3, seconds=3)


def test_an_event_stays_queued_until_the_api_has_taken_it(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    wait_until(lambda: len(stub_api.requests) >= 2)
    assert len(queued(page)) == 2
    stub_api.answer = lambda request: Answer()
    stub_api.wait_for("signup")
    wait_until(lambda: queued(page) == [])


def test_a_resend_changes_nothing_but_the_time_of_sending(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    wait_until(lambda: len(stub_api.requests) >= 2)
    first, second = stub_api.requests[:2]
    assert first.events == second.events
    assert datetime.fromisoformat(first.body["sent_at"]) < datetime.fromisoformat(second.body["sent_at"])


def test_the_next_page_delivers_what_the_last_one_could_not(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    stub_api.stop()
    page.evaluate("tildaAnalytics.track('signup', { plan: 'pro' })")
    page.goto("about:blank")
    stub_api.start()
    open_page(page, stub_site.url("/"))
    [event] = stub_api.wait_for("signup")
    assert event["payload"]["custom"] == {"plan": "pro"}
    wait_until(lambda: queued(page) == [])


def test_a_page_that_comes_back_reports_leaving_again(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    hide(page)
    show(page)
    page.wait_for_timeout(200)
    hide(page)
    first, second = stub_api.wait_for("page_leave", count=2)
    assert first["payload"]["page_view_id"] == second["payload"]["page_view_id"]
    assert second["payload"]["timing"]["engagedTime"] >= first["payload"]["timing"]["engagedTime"]
