"""Without consent the collector stores nothing and sends nothing, or in cookieless mode stores nothing."""

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import hide, open_page, stored, watch_sending
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import Site
from tests.browser.stub_api import Answer, StubApi

BUTTON = "<button>Press</button>"
TILDA_BLOCK = """
  <button id="yes">Accept</button><button id="no">Only needed</button>
  <script>
    yes.onclick = () => {
      document.cookie = 't_cookiesConsentGiven=true';
      document.cookie = 't_cookiesCategories=[%22analytics%22]';
    };
    no.onclick = () => {
      document.cookie = 't_cookiesConsentGiven=true';
      document.cookie = 't_cookiesCategories=[]';
    };
  </script>
"""
"""Writes the cookies of Tilda's consent block T972."""


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
    page.evaluate("tildaAnalytics.consent(true); tildaAnalytics.track('signup'); tildaAnalytics.consent(false)")
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
    url = site.page("/")
    open_page(page, url)
    api.wait_for("page_view")
    page.evaluate("tildaAnalytics.optOut()")
    sent = watch_sending(page)
    open_page(page, url)
    page.evaluate("tildaAnalytics.consent(true)")
    hide(page)
    page.wait_for_timeout(300)
    assert traces(page) == [{"analytics_consent": "never"}, {}, ""]
    assert sent == []


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


def test_privacy_signals_are_ignored_if_the_site_says_so(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })")
    open_page(page, stub_site.page("/", options='data-privacy-signals="off"'))
    hide(page)
    stub_api.wait_for("page_view")


def page_without_mode(site: Site, body: str = BUTTON) -> str:
    """Register a page whose script tag names no mode of consent, and return its URL."""
    site.pages["/"] = (
        f'<!doctype html><title>Page</title><script async src="{site.api.url}/collector.js"'
        f' data-site-key="{site.api.site_key}" data-localhost></script><body>{body}</body>'
    )
    return site.url("/")


def test_without_a_mode_nothing_is_recorded_before_consent(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    """Earlier, the default was opt-out: every visitor was recorded."""
    open_page(page, page_without_mode(stub_site))
    page.click("button")
    hide(page)
    page.wait_for_timeout(300)
    assert traces(page) == [{}, {}, ""]
    assert stub_api.requests == []
    page.evaluate("tildaAnalytics.consent(true)")
    stub_api.wait_for("page_view")
    assert stub_api.of_type("click") == []


def test_without_a_mode_tildas_consent_block_is_read(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, page_without_mode(stub_site, TILDA_BLOCK))
    page.click("#yes")
    wait_until(lambda: "analytics_user_id" in stored(page))
    hide(page)
    stub_api.wait_for("page_view")


def test_consent_follows_the_cookies_of_tildas_consent_block(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", TILDA_BLOCK, options='data-consent="tilda"'))
    page.click("#no")
    page.wait_for_timeout(700)
    assert stored(page) == {}
    page.click("#yes")
    wait_until(lambda: "analytics_user_id" in stored(page))
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("page_view", "signup", count=2)
    page.click("#no")
    wait_until(lambda: stored(page) == {})


def test_the_latest_of_a_call_and_tildas_block_counts(page: Page, stub_site: Site) -> None:
    """Earlier, a withdrawal by call lasted until the next click, which read the block's cookies again."""
    open_page(page, stub_site.page("/", TILDA_BLOCK + BUTTON, options='data-consent="tilda"'))
    page.click("#yes")
    wait_until(lambda: "analytics_user_id" in stored(page))
    page.evaluate("tildaAnalytics.consent(false)")
    page.click("button >> nth=2")
    page.wait_for_timeout(700)
    assert stored(page) == {"analytics_consent": "false"}
    page.evaluate("tildaAnalytics.consent(true)")
    page.click("#no")
    wait_until(lambda: stored(page) == {})


def test_data_of_another_mode_is_removed_without_consent(page: Page, stub_site: Site) -> None:
    """Earlier, a site that changed from opt-out to opt-in left the IDs in the browsers."""
    open_page(page, stub_site.page("/"))
    assert "analytics_user_id" in stored(page)
    open_page(page, stub_site.page("/", options='data-consent="opt-in"'))
    assert traces(page) == [{}, {}, ""]


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
    with page.expect_response("**/collector.consent.js"):
        open_page(page, site.page("/", head=head, options='data-consent="askVisitor"'))
    page.wait_for_timeout(400)
    hide(page)
    if granted:
        api.wait_for("page_view")
    assert ("analytics_user_id" in stored(page)) is granted


def test_consent_function_defined_after_the_script_is_asked(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    """Earlier, the function was looked for once, so that a banner loaded later was never asked."""
    open_page(page, stub_site.page("/", options='data-consent="askVisitor"'))
    page.wait_for_timeout(400)
    page.evaluate("() => { window.askVisitor = (answer) => { window.answerLater = answer; return false; }; }")
    page.wait_for_function("Boolean(window.answerLater)")
    assert traces(page) == [{}, {}, ""]
    page.evaluate("() => answerLater(true)")
    hide(page)
    stub_api.wait_for("page_view")
    page.evaluate("answerLater(false)")
    assert traces(page) == [{}, {}, ""]


# https://developers.google.com/tag-platform/security/guides/consent: `gtag` pushes its `arguments`.
GTAG = "<script>window.dataLayer = window.dataLayer || []; function gtag() { dataLayer.push(arguments); }</script>"
DENIED = "gtag('consent', 'default', { analytics_storage: 'denied' })"
DENIED_IN_AUSTRIA = "gtag('consent', 'default', { analytics_storage: 'denied', region: ['AT'] })"


@pytest.mark.parametrize(
    ("commands", "granted"),
    [
        ("gtag('consent', 'default', { analytics_storage: 'granted', ad_storage: 'denied' })", True),
        ("gtag('consent', 'default', { analytics_storage: 'denied', wait_for_update: 500 })", False),
        ("gtag('js', new Date()); dataLayer.push({ event: 'x' }, null); gtag('config', 'G-1', null)", False),
        ("gtag('consent', 'default', { ad_storage: 'granted' })", False),
        (f"{DENIED}; gtag('consent', 'update', {{ analytics_storage: 'granted' }})", True),
        (f"{DENIED_IN_AUSTRIA}; gtag('consent', 'default', {{ analytics_storage: 'granted' }})", False),
        ("gtag('consent', 'default', { analytics_storage: 'granted', region: ['US-CA'] })", False),
    ],
)
def test_google_consent_mode_before_the_script(
    page: Page, stub_site: Site, stub_api: StubApi, commands: str, *, granted: bool
) -> None:
    head = f"{GTAG}<script>{commands}</script>"
    with page.expect_response("**/collector.consent.js"):
        open_page(page, stub_site.page("/", head=head, options='data-consent="google"'))
    page.wait_for_timeout(400)
    assert ("analytics_user_id" in stored(page)) is granted


def test_google_consent_mode_updates(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    # A page with Google Maps has an object of the name that the mode has.
    head = f"<script>window.google = {{ maps: {{}} }}</script>{GTAG}"
    open_page(page, stub_site.page("/", head=head, options='data-consent="google"'))
    page.wait_for_timeout(300)
    page.evaluate("gtag('consent', 'update', { analytics_storage: 'granted' })")
    wait_until(lambda: "analytics_user_id" in stored(page))
    hide(page)
    stub_api.wait_for("page_view")
    page.evaluate("gtag('consent', 'update', { analytics_storage: 'denied' })")
    assert traces(page) == [{}, {}, ""]
    assert page.evaluate("dataLayer.length") == 2, "the page's own entries are kept"


# The commands and the TCData object of IAB Tech Lab's "CMP API v2", section "addEventListener", in
# https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework (TCF 2.2: only this command).
CMP = """() => {
  let listener, data = { tcfPolicyVersion: 5, cmpId: 300, cmpStatus: 'loaded', listenerId: 1 };
  window.__tcfapi = (command, version, callback) => {
    if (command !== 'addEventListener' || version !== 2) return callback(null, false);
    callback(null, false); // a failure must not throw
    listener = callback;
    listener({ ...data, eventStatus: 'cmpuishown', gdprApplies: true, purpose: { consents: {} }, publisher: {} }, true);
  };
  window.decide = (consents, publisher = {}, more = {}) =>
    listener({ ...data, eventStatus: 'useractioncomplete', gdprApplies: true,
      purpose: { consents, legitimateInterests: {} }, publisher: { consents: publisher }, ...more }, true);
}"""


def test_tcf_consent_follows_purposes_and_publisher(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/", options='data-consent="tcf"'))
    page.wait_for_timeout(300)
    page.evaluate(CMP)  # the platform loads after the collector
    page.wait_for_timeout(1500)
    for refused in (
        "{ 1: true }",
        "{ 8: true }",
        "{ 1: true, 8: false }",
        "{ 1: true, 8: true }, { 1: true, 8: false }",
        "{ 1: true, 8: true }, {}, { eventStatus: 'cmpuishown' }",
    ):
        page.evaluate(f"decide({refused})")
        assert traces(page) == [{}, {}, ""], refused
    for given in (
        "{ 1: true, 7: false, 8: true }",
        "{ 1: true, 8: true }, { 1: true, 8: true }",
        "{}, {}, { gdprApplies: false }",
    ):
        page.evaluate(f"decide({given})")
        assert "analytics_user_id" in stored(page), given
        page.evaluate("decide({ 1: true, 8: true }, {}, { eventStatus: 'cmpuishown', purpose: { consents: {} } })")
        assert "analytics_user_id" in stored(page), "the last answer holds while the platform asks"
        page.evaluate("decide({ 1: false, 8: true })")
        assert traces(page) == [{}, {}, ""]


COOKIELESS = 'data-consent="cookieless"'


def test_cookieless_mode_records_without_storing_anything(page: Page, site: Site, api: RealApi) -> None:
    sent = watch_sending(page)
    url = site.page("/", BUTTON, options=COOKIELESS)
    open_page(page, url)
    page.click("button")
    page.evaluate("tildaAnalytics.identify('anna'); tildaAnalytics.reset(); tildaAnalytics.track('signup')")
    hide(page)
    api.wait_for("page_view", "click", "signup", "page_leave", count=4)
    assert traces(page) == [{}, {}, ""]
    open_page(page, url)
    hide(page)
    api.wait_for("page_view", count=2)
    assert all(request.endswith("&cookieless=1") for request in sent)
    assert {event["user_id"][:11] for event in api.events} == {"cookieless."}
    assert len({event["user_id"] for event in api.events}) == 1
    assert api.of_type("identify") == []
    assert api.rejected == []


def test_cookieless_events_contain_no_ids(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/", BUTTON, options=f"{COOKIELESS} data-server-cookie data-fingerprint"))
    page.context.add_cookies([{"name": "x", "value": "1", "url": stub_api.url}])
    page.click("button")
    hide(page)
    stub_api.wait_for("click")
    assert not {"user_id", "session_id", "visit_id", "tab_id"} & {name for event in stub_api.events for name in event}
    assert stub_api.of_type("identify") == []
    assert all("Cookie" not in request.headers for request in stub_api.requests)


@pytest.mark.parametrize("way", ["tildaAnalytics.consent(true)", "yes.click()"])
def test_cookieless_visitor_who_consents_is_not_counted_twice_on_the_page(
    page: Page, site: Site, api: RealApi, way: str
) -> None:
    url = site.page("/", TILDA_BLOCK, options=COOKIELESS)
    open_page(page, url)
    page.evaluate("tildaAnalytics.track('before')")
    page.evaluate(way)
    wait_until(lambda: "analytics_user_id" in stored(page))
    page.evaluate("tildaAnalytics.track('signup')")
    [signup] = api.wait_for("signup")
    [view] = api.of_type("page_view")
    [before] = api.of_type("before")
    assert view["user_id"] == before["user_id"]
    assert view["user_id"].startswith("cookieless.")
    assert signup["user_id"] == stored(page)["analytics_user_id"]
    assert signup["session_id"]
    assert signup["payload"]["page_view_id"] == view["payload"]["page_view_id"]
    open_page(page, url)
    hide(page)
    assert [event["user_id"] for event in api.wait_for("page_view", count=2)] == [view["user_id"], signup["user_id"]]


def test_withdrawal_in_cookieless_mode_removes_everything_and_counts_without_ids(
    page: Page, site: Site, api: RealApi
) -> None:
    url = site.page("/", options=COOKIELESS)
    open_page(page, url)
    page.evaluate("tildaAnalytics.consent(true); tildaAnalytics.track('signup')")
    api.wait_for("signup")
    page.evaluate("tildaAnalytics.consent(false); tildaAnalytics.track('after')")
    hide(page)
    [after] = api.wait_for("after")
    assert after["user_id"].startswith("cookieless.")
    assert after["session_id"] is None
    assert traces(page) == [{}, {}, ""]
    assert len(api.of_type("page_view")) == 1


def test_opt_out_in_cookieless_mode_is_remembered(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    url = stub_site.page("/", options=COOKIELESS)
    open_page(page, url)
    page.evaluate("tildaAnalytics.optOut()")
    sent = watch_sending(page)
    open_page(page, url)
    hide(page)
    page.wait_for_timeout(300)
    assert traces(page) == [{"analytics_consent": "never"}, {}, ""]
    assert sent == []


def test_privacy_signal_stops_the_cookieless_mode(page: Page, stub_site: Site) -> None:
    sent = watch_sending(page)
    page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })")
    open_page(page, stub_site.page("/", options=COOKIELESS))
    hide(page)
    page.wait_for_timeout(300)
    assert sent == []


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
