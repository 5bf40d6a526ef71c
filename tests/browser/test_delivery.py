"""Recorded events are delivered despite failures of the page, the network and the API."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import hide, open_page, queued, show, stored
from tests.browser.event_log import RealApi, wait_until
from tests.browser.loss import kill_renderer
from tests.browser.site import Site
from tests.browser.stub_api import Answer, StubApi


def test_request_needs_no_preflight_and_contains_the_site_key(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    stub_api.wait_for("page_view")
    [request] = stub_api.requests
    assert request.path == f"/api/events?key={stub_api.site_key}"
    assert request.headers["Content-Type"].startswith("text/plain")
    assert datetime.fromisoformat(request.body["sent_at"]) >= datetime.fromisoformat(request.events[0]["created_at"])


def test_endpoint_may_differ_from_the_script_origin(
    page: Page, stub_site: Site, stub_api: StubApi, api: RealApi
) -> None:
    options = f'data-site-key="{api.site_key}" data-endpoint="{api.url}/" data-consent="opt-out"'
    snippet = f'<script async src="{stub_api.url}/collector.js" data-localhost {options}></script>'
    stub_site.pages["/"] = f"<!doctype html><title>Page</title>{snippet}<p>Bread</p>"
    open_page(page, stub_site.url("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("page_view", "signup", count=2)
    assert stub_api.requests == []


def test_events_are_sent_in_batches_of_ten_or_after_five_seconds(
    page: Page, stub_site: Site, stub_api: StubApi
) -> None:
    open_page(page, stub_site.page("/"))
    stub_api.wait_for("page_view", seconds=4)
    for number in range(10):
        page.evaluate("n => tildaAnalytics.track('step', { n })", number)
    stub_api.wait_for("step", count=10, seconds=4)
    page.evaluate("tildaAnalytics.track('last')")
    stub_api.wait_for("last")
    assert [len(request.events) for request in stub_api.requests] == [1, 10, 1]


def test_purchase_is_sent_without_waiting_for_a_batch(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.purchase({ id: 'o1', amount: 12.5, currency: 'EUR' })")
    [event] = api.wait_for("purchase", seconds=4)
    assert event["payload"]["order"] == {"id": "o1", "amount": 12.5, "currency": "EUR"}


def test_hidden_page_sends_its_queue(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    hide(page)
    assert [event["event_type"] for event in api.wait_for("page_leave", seconds=4)] == ["page_leave"]


def test_closed_page_sends_its_queue(context: BrowserContext, site: Site, api: RealApi) -> None:
    page = context.new_page()
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.track('seen')")
    page.close()
    api.wait_for("page_view", "seen", "page_leave", count=3)


def test_event_stays_queued_until_the_api_accepts_it(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    wait_until(lambda: len(stub_api.requests) >= 2)
    assert len(queued(page)) == 2
    stub_api.answer = lambda request: Answer()
    stub_api.wait_for("signup")
    wait_until(lambda: queued(page) == [])


def test_retry_changes_only_sent_at(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    wait_until(lambda: len(stub_api.requests) >= 2)
    first, second = stub_api.requests[:2]
    assert first.events == second.events
    assert datetime.fromisoformat(first.body["sent_at"]) < datetime.fromisoformat(second.body["sent_at"])


def test_next_page_delivers_undelivered_events(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    stub_api.stop()
    page.evaluate("tildaAnalytics.track('signup', { plan: 'pro' })")
    page.goto("about:blank")
    stub_api.start()
    open_page(page, stub_site.url("/"))
    hide(page)
    [event] = stub_api.wait_for("signup")
    assert event["payload"]["custom"] == {"plan": "pro"}
    wait_until(lambda: queued(page) == [])


def test_page_shown_again_sends_a_second_page_leave(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    hide(page)
    show(page)
    page.wait_for_timeout(200)
    hide(page)
    first, second = api.wait_for("page_leave", count=2)
    assert first["payload"]["page_view_id"] == second["payload"]["page_view_id"]
    assert second["payload"]["timing"]["engagedTime"] >= first["payload"]["timing"]["engagedTime"]


def track_many(page: Page, count: int, size: int = 10) -> None:
    page.evaluate(
        "([n, size]) => { while (n--) tildaAnalytics.track('step', { n, text: 'ж'.repeat(size) }) }", [count, size]
    )


def test_requests_stay_below_the_beacon_size_limit(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    track_many(page, 15, size=6000)  # 12 KB each: the letter takes two bytes
    stub_api.wait_for("step", count=15, seconds=20)
    assert max(request.size for request in stub_api.requests) <= 48 * 1024
    assert max(request.size for request in stub_api.requests) > 36 * 1024


def test_batch_refused_as_too_large_is_halved(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(413 if len(request.events) > 3 else 202)
    open_page(page, stub_site.page("/"))
    track_many(page, 11)
    hide(page)
    stub_api.wait_for("step", count=11)
    wait_until(lambda: queued(page) == [])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_event_is_dropped_and_the_others_are_delivered(
    page: Page, stub_site: Site, stub_api: StubApi, status: int
) -> None:
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    stub_api.answer = lambda request: Answer(status if "poison" in json.dumps(request.body) else 202)
    open_page(page, stub_site.page("/", options="data-debug"))
    track_many(page, 4)
    page.evaluate("tildaAnalytics.track('poison')")
    track_many(page, 4)
    stub_api.wait_for("step", count=8)
    wait_until(lambda: queued(page) == [])
    assert any("dropped" in text and "poison" in text for text in messages)


@pytest.mark.parametrize("status", [401, 404, 408, 429, 503])
def test_temporary_refusal_drops_no_event(page: Page, stub_site: Site, stub_api: StubApi, status: int) -> None:
    stub_api.answer = lambda request: Answer(status if len(stub_api.requests) < 2 else 202)
    open_page(page, stub_site.page("/"))
    stub_api.wait_for("page_view")
    assert len(stub_api.requests) == 2


def wait_for_pause(page: Page, api: StubApi) -> None:
    """Wait until the collector has read a refusal. An urgent event before that starts a request of its own."""
    wait_until(lambda: f"analytics_retry_at:{api.site_key}" in stored(page))


def test_retry_after_is_respected_on_the_next_page(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(429, {"Retry-After": "3"})
    url = stub_site.page("/")
    open_page(page, url)
    wait_for_pause(page, stub_api)
    page.evaluate("tildaAnalytics.track('signup')")
    stub_api.answer = lambda request: Answer()
    open_page(page, url)
    page.evaluate("tildaAnalytics.track('signup')")
    hide(page)
    stub_api.wait_for("signup", count=2)
    first, second = stub_api.requests[:2]
    assert second.at - first.at >= 3


def test_retry_delay_doubles_with_each_failure(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(500)
    open_page(page, stub_site.page("/"))
    wait_for_pause(page, stub_api)
    page.evaluate("tildaAnalytics.track('signup')")
    track_many(page, 30)  # more than a batch must not trigger an earlier retry
    wait_until(lambda: len(stub_api.requests) == 3, seconds=20)
    waits = [b.at - a.at for a, b in zip(stub_api.requests, stub_api.requests[1:], strict=False)]
    for number, wait in enumerate(waits):
        assert wait >= 2**number


def test_request_that_times_out_is_retried(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    page.add_init_script(
        "const { timeout } = AbortSignal;"
        "AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 30)"  # half a second in place of 15 seconds
    )
    stub_api.answer = lambda request: Answer(hang_seconds=20 if len(stub_api.requests) == 1 else 0)
    open_page(page, stub_site.page("/"))
    stub_api.wait_for("page_view")
    assert len(stub_api.requests) == 2
    wait_until(lambda: queued(page) == [])


def test_offline_period_loses_no_event(page: Page, context: BrowserContext, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    context.set_offline(True)
    page.evaluate("tildaAnalytics.track('signup'); tildaAnalytics.track('later')")
    page.wait_for_timeout(300)
    assert len(queued(page)) >= 2
    context.set_offline(False)
    api.wait_for("page_view", "signup", "later", count=3)
    wait_until(lambda: queued(page) == [])


def test_killed_api_loses_no_event(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    api.server.kill()
    page.evaluate("tildaAnalytics.track('signup'); tildaAnalytics.track('later')")
    page.wait_for_timeout(300)
    api.server.start()
    api.wait_for("page_view", "signup", "later", count=3, seconds=20)
    wait_until(lambda: queued(page) == [])


def test_next_visit_delivers_the_queue_of_a_crashed_tab(context: BrowserContext, site: Site, api: RealApi) -> None:
    url = site.page("/")
    crashed_tab = context.new_page()
    open_page(crashed_tab, url)
    track_many(crashed_tab, 5)
    kill_renderer(crashed_tab)
    crashed_tab.close()
    assert api.of_type("step") == []
    later = context.new_page()
    open_page(later, url)
    api.wait_for("step", count=5)
    assert len(api.of_type("step")) == 5


def test_two_tabs_deliver_a_shared_queue(
    page: Page, context: BrowserContext, stub_site: Site, stub_api: StubApi
) -> None:
    url = stub_site.page("/")
    open_page(page, url)
    other = context.new_page()
    open_page(other, url)
    stub_api.stop()
    track_many(page, 20)
    track_many(other, 20)
    stub_api.start()
    stub_api.wait_for("step", count=40, seconds=20)
    wait_until(lambda: queued(page) == [])


def test_full_queue_keeps_the_newest_events(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    track_many(page, 600, size=500)  # counts down to 0
    kept = [json.loads(stored(page)[key])["payload"].get("custom", {}).get("n") for key in queued(page)]
    assert 0 in kept
    assert 599 not in kept


@pytest.mark.parametrize("hours", [-30, 5])
def test_events_of_a_wrong_clock_are_delivered(page: Page, site: Site, api: RealApi, hours: int) -> None:
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=hours))
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    [event] = api.wait_for("signup")
    skew = datetime.fromisoformat(event["received_at"]) - datetime.fromisoformat(event["sent_at"])
    assert abs(skew + timedelta(hours=hours)) < timedelta(minutes=1)
    wait_until(lambda: queued(page) == [])


def test_event_above_the_request_size_limit_is_dropped_alone(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/"))
    track_many(page, 1, size=40_000)
    page.evaluate("tildaAnalytics.track('signup')")
    stub_api.wait_for("signup")
    assert stub_api.of_type("step") == []
    wait_until(lambda: queued(page) == [])


@pytest.mark.parametrize("seconds", [0.2, 1, 3])
def test_page_view_of_a_tab_that_is_killed_soon_is_stored(
    context: BrowserContext, site: Site, api: RealApi, seconds: float
) -> None:
    page = context.new_page()
    page.goto(site.page("/"))
    page.wait_for_timeout(seconds * 1000)
    kill_renderer(page)
    page.close()
    api.wait_for("page_view", seconds=2)


def test_first_request_takes_along_what_is_recorded_with_the_page_view(
    page: Page, stub_site: Site, stub_api: StubApi
) -> None:
    head = "<script>(window.tildaAnalytics = []).push(['track', 'ready'], ['track', 'signup'])</script>"
    open_page(page, stub_site.page("/", head=head))
    stub_api.wait_for("signup")
    [request] = stub_api.requests
    assert {event["event_type"] for event in request.events} == {"page_view", "ready", "signup"}


def test_hidden_page_waits_before_it_retries(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    wait_until(lambda: stub_api.requests)
    hide(page)
    for number in range(50):
        page.evaluate("n => tildaAnalytics.track('step', { n })", number)
    page.wait_for_timeout(500)
    assert len(stub_api.requests) <= 3
    assert len(queued(page)) == 52


def test_leaving_a_page_takes_one_request(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    form = '<h1>Bread</h1><form><input name="city"></form>'
    with page.expect_response("**/collector.vitals.js"):
        open_page(page, stub_site.page("/", form, options="data-web-vitals"))
    stub_api.wait_for("page_view")
    page.mouse.click(500, 500)
    page.wait_for_timeout(300)
    page.fill("[name=city]", "Kazan")
    page.evaluate("tildaAnalytics.track('last')")
    before = len(stub_api.requests)
    page.goto("about:blank")
    stub_api.wait_for("page_leave")
    page.wait_for_timeout(300)
    [request] = stub_api.requests[before:]
    left = {event["event_type"] for event in request.events}
    assert {"form_start", "last", "form_abandon", "page_leave", "web_vitals"} <= left


def test_queue_leaves_room_for_the_scripts_of_the_site(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503)
    open_page(page, stub_site.page("/"))
    for _ in range(6):
        track_many(page, 100, size=4500)  # 9 KB each
    assert sum(len(text.encode()) for key, text in stored(page).items() if key in queued(page)) <= 200 * 1024
    page.evaluate("localStorage.setItem('tcart', 'x'.repeat(4_900_000))")
    page.evaluate("tildaAnalytics.track('signup')")
    assert len(page.evaluate("localStorage.tcart")) == 4_900_000


def test_events_are_sent_with_the_site_key_that_they_were_recorded_with(
    page: Page, stub_site: Site, stub_api: StubApi
) -> None:
    stub_api.answer = lambda request: Answer(503 if "key=pk_one" in request.path else 202)
    stub_site.pages["/one"] = stub_site.snippet().replace(stub_api.site_key, "pk_one")
    stub_site.pages["/two"] = stub_site.snippet().replace(stub_api.site_key, "pk_two")
    open_page(page, stub_site.url("/one"))
    wait_until(lambda: stub_api.requests)
    open_page(page, stub_site.url("/two"))
    page.evaluate("tildaAnalytics.track('signup')")
    stub_api.wait_for("signup")
    assert {event["page_url"] for event in stub_api.events} == {stub_site.url("/two")}
    stub_api.answer = lambda request: Answer()
    open_page(page, stub_site.url("/one"))
    stub_api.wait_for("page_view", count=3, seconds=15)
    keys = {event["page_url"]: request.path for request in stub_api.requests for event in request.events}
    assert keys == {stub_site.url(f"/{key}"): f"/api/events?key=pk_{key}" for key in ("one", "two")}


def test_script_without_a_site_key_sends_nothing_and_warns(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    warnings: list[str] = []
    page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
    stub_site.pages["/"] = f'<script async src="{stub_api.url}/collector.js" data-localhost></script><p>Bread</p>'
    page.goto(stub_site.url("/"))
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    assert stub_api.requests == []
    assert warnings == ["Tilda Analytics: data-site-key is missing"]


def test_refused_key_is_tried_at_most_once_an_hour(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    page.clock.install()
    stub_api.answer = lambda request: Answer(401)
    open_page(page, stub_site.page("/"))
    for failures in range(1, 14):
        page.clock.fast_forward(2 * 3600 * 1000)
        wait_until(lambda: len(stub_api.requests) >= failures)  # noqa: B023 - called in this iteration
        wait_until(lambda: stub_api.requests[-1].answered)
        page.wait_for_timeout(50)
    count = len(stub_api.requests)
    page.clock.fast_forward(59 * 60 * 1000)
    page.wait_for_timeout(300)
    assert len(stub_api.requests) == count
    page.clock.fast_forward(2 * 60 * 1000)
    wait_until(lambda: len(stub_api.requests) == count + 1)


def test_queue_of_an_earlier_version_is_delivered(page: Page, site: Site, api: RealApi) -> None:
    event = {"event_id": "00000000-0000-4000-8000-000000000001", "event_type": "earlier", "user_id": "visitor-1"}
    key = "analytics_queue:1700000000000:11111111-2222-4333-8444-555555555555:00000000"
    page.add_init_script(f"localStorage['{key}'] = '{json.dumps(event)}'")
    open_page(page, site.page("/"))
    api.wait_for("earlier")
