"""Without consent the collector stores nothing and sends nothing."""

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import hide, open_page, stored, watch_sending
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import Site
from tests.browser.stub_api import Answer, StubApi

BUTTON = "<button>Press</button>"


def traces(page: Page) -> list[object]:
    """Return everything that the collector may have stored in the browser."""
    return [stored(page), stored(page, "sessionStorage"), page.evaluate("document.cookie")]


def test_nothing_is_stored_or_sent_before_consent(page: Page, site: Site, api: RealApi) -> None:
    sent = watch_sending(page)
    open_page(page, site.page("/", BUTTON, options='data-consent="opt-in"'))
    page.click("button")
    page.evaluate("tildaAnalytics.track('signup')")
    hide(page)
    page.wait_for_timeout(500)
    assert traces(page) == [{}, {}, ""]
    assert (sent, api.events) == ([], [])


def test_later_consent_records_the_page_view_and_is_remembered(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/", BUTTON, options='data-consent="opt-in"')
    open_page(page, url + "?utm_source=vk")
    page.click("button")
    page.evaluate("tildaAnalytics.consent(true); tildaAnalytics.track('signup')")
    api.wait_for("signup")
    [view] = api.of_type("page_view")
    assert view["payload"]["utm"] == {"source": "vk"}
    assert api.of_type("click") == [], "actions before consent are not recorded"
    open_page(page, url)
    hide(page)
    api.wait_for("page_view", count=2)


def test_withdrawn_consent_clears_storage_and_queue(page: Page, site: Site, api: RealApi) -> None:
    sent = watch_sending(page)
    open_page(page, site.page("/", BUTTON, options='data-consent="opt-in"'))
    page.evaluate("tildaAnalytics.consent(true)")
    page.click("button")
    page.evaluate("tildaAnalytics.consent(false)")
    assert traces(page) == [{}, {}, ""]
    page.click("button")
    hide(page)
    page.evaluate("tildaAnalytics.track('signup')")
    page.goto("about:blank")
    assert (sent, api.events) == ([], [])


def test_refusal_is_remembered_when_consent_is_the_default(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/")
    open_page(page, url)
    page.evaluate("tildaAnalytics.consent(false)")
    open_page(page, url)
    page.evaluate("tildaAnalytics.track('signup')")
    assert traces(page) == [{"analytics_consent": "false"}, {}, ""]
    page.evaluate("tildaAnalytics.consent(true)")
    hide(page)
    api.wait_for("page_view")
    assert api.of_type("signup") == []


def test_opt_out_overrides_later_consent(page: Page, site: Site, api: RealApi) -> None:
    sent = watch_sending(page)
    url = site.page("/")
    open_page(page, url)
    page.evaluate("tildaAnalytics.optOut()")
    open_page(page, url)
    page.evaluate("tildaAnalytics.consent(true)")
    hide(page)
    page.wait_for_timeout(300)
    assert traces(page) == [{"analytics_consent": "never"}, {}, ""]
    assert (sent, api.events) == ([], [])


@pytest.mark.parametrize("signal", ["globalPrivacyControl: { value: true }", "doNotTrack: { value: '1' }"])
def test_browser_privacy_signal_overrides_consent(page: Page, site: Site, api: RealApi, signal: str) -> None:
    sent = watch_sending(page)
    page.add_init_script(f"Object.defineProperties(navigator, {{ {signal} }})")
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.consent(true); tildaAnalytics.track('signup')")
    hide(page)
    page.wait_for_timeout(300)
    assert traces(page) == [{}, {}, ""]
    assert (sent, api.events) == ([], [])


def test_consent_follows_the_cookies_of_tildas_consent_block(
    page: Page, context: BrowserContext, site: Site, api: RealApi
) -> None:
    give = "document.cookie='t_cookiesConsentGiven=true'; document.cookie='t_cookiesCategories=[%22analytics%22]'"
    take = "document.cookie='t_cookiesConsentGiven=true'; document.cookie='t_cookiesCategories=[]'"
    block = f'<button id="yes" onclick="{give}">Accept</button><button id="no" onclick="{take}">Only needed</button>'
    open_page(page, site.page("/", block, options='data-consent="tilda"'))
    page.click("#no")
    page.wait_for_timeout(700)
    assert stored(page) == {}
    page.click("#yes")
    wait_until(lambda: "analytics_user_id" in stored(page))
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("page_view", "signup", count=2)
    page.click("#no")
    wait_until(lambda: stored(page) == {})


@pytest.mark.parametrize(
    ("function", "granted"),
    [
        ("() => true", True),
        ("() => false", False),
        ("() => Promise.resolve(true)", True),
        ("(answer) => { setTimeout(() => answer(true), 100); }", True),
        ("() => { throw new Error('broken'); }", False),
        ("() => Promise.reject(new Error('broken'))", False),
        ("undefined", False),
    ],
)
def test_consent_follows_a_function_of_the_page(
    page: Page, site: Site, api: RealApi, function: str, *, granted: bool
) -> None:
    head = f"<script>window.askVisitor = {function};</script>"
    open_page(page, site.page("/", head=head, options='data-consent="askVisitor"'))
    page.wait_for_timeout(200)
    hide(page)
    if granted:
        api.wait_for("page_view")
    page.wait_for_timeout(100)
    assert ("analytics_user_id" in stored(page)) is granted


def test_withdrawn_consent_clears_the_other_tabs(page: Page, context: BrowserContext, site: Site, api: RealApi) -> None:
    url = site.page("/", BUTTON)
    open_page(page, url)
    other = context.new_page()
    open_page(other, url)
    page.evaluate("tildaAnalytics.consent(false)")
    wait_until(lambda: stored(other, "sessionStorage") == {})
    other.click("button")
    other.close()
    assert traces(page) == [{"analytics_consent": "false"}, {}, ""]


def test_response_after_withdrawn_consent_stores_nothing(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    stub_api.answer = lambda request: Answer(503, {"Retry-After": "60"}, hang_seconds=0.5)
    open_page(page, stub_site.page("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    wait_until(lambda: stub_api.requests)
    page.evaluate("tildaAnalytics.consent(false)")
    wait_until(lambda: stub_api.requests[0].answered)
    page.wait_for_timeout(200)
    assert traces(page) == [{"analytics_consent": "false"}, {}, ""]
