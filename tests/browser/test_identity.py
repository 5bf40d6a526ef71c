"""Visitor IDs and session IDs, with storage and without."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import READY, hide, open_page, stored
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import Site
from tests.browser.stub_api import Answer, StubApi

# Playwright cannot disable storage in Chromium, so this script makes storage fail as in a browser that forbids it.
DENY_STORAGE = """
  for (const name of ['localStorage', 'sessionStorage'])
    Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });
  Object.defineProperty(document, 'cookie', { get: () => '', set() {} });
"""


def test_visitor_id_persists_across_page_loads(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/")
    open_page(page, url)
    open_page(page, url)
    hide(page)
    assert len({event["user_id"] for event in api.wait_for("page_view", count=2)}) == 1


def test_visitor_id_is_restored_from_the_cookie(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/")
    open_page(page, url)
    user_id = page.evaluate("localStorage.analytics_user_id")
    page.evaluate("localStorage.removeItem('analytics_user_id')")
    open_page(page, url)
    assert page.evaluate("localStorage.analytics_user_id") == user_id


@pytest.mark.parametrize(
    "store", ["localStorage.analytics_user_id = '<b>'", "document.cookie = 'analytics_user_id=x y'"]
)
def test_invalid_stored_visitor_id_is_replaced(page: Page, site: Site, api: RealApi, store: str) -> None:
    open_page(page, site.page("/", head=f"<script>{store}</script>"))
    hide(page)
    [event] = api.wait_for("page_view")
    assert len(event["user_id"]) == 36


def test_ids_stay_constant_within_a_page_without_storage(page: Page, site: Site, api: RealApi) -> None:
    page.add_init_script(DENY_STORAGE)
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.track('signup')")
    view, signup = api.wait_for("page_view", "signup", count=2)
    assert view["user_id"] == signup["user_id"]
    assert view["session_id"] == signup["session_id"]


def test_sandboxed_frame_records_events(page: Page, site: Site, api: RealApi) -> None:
    site.page("/inner", "<button>Press</button>")
    outer = '<!doctype html><iframe sandbox="allow-scripts" src="/inner"></iframe>'
    site.pages["/outer"] = outer
    page.goto(site.url("/outer"))
    frame = page.frames[1]
    frame.wait_for_function(READY)
    frame.evaluate("tildaAnalytics.track('signup')")
    view, signup = api.wait_for("page_view", "signup", count=2)
    assert view["user_id"] == signup["user_id"]


def test_identify_sends_the_external_id_and_traits(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.identify('customer-7', { plan: 'pro' })")
    [event] = api.wait_for("identify")
    assert event["payload"]["identity"] == {"external_id": "customer-7", "plan": "pro"}


def test_reset_creates_a_new_visitor_and_session(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.reset(); tildaAnalytics.track('signup')")
    view, signup = api.wait_for("page_view", "signup", count=2)
    assert view["user_id"] != signup["user_id"]
    assert view["session_id"] != signup["session_id"]
    assert page.evaluate("document.cookie") == f"analytics_user_id={signup['user_id']}"


def test_subdomains_share_the_visitor_cookie(page: Page, site: Site, api: RealApi) -> None:
    site.page("/", options='data-cookie-domain="shop.test"')
    open_page(page, site.url("/", host="www.shop.test"))
    open_page(page, site.url("/", host="shop.test"))
    hide(page)
    assert len({event["user_id"] for event in api.wait_for("page_view", count=2)}) == 1


def test_visitor_cookie_set_by_the_server_is_kept(
    page: Page, context: BrowserContext, stub_site: Site, stub_api: StubApi
) -> None:
    given = "11111111-2222-4333-8444-555555555555"
    url = stub_site.page("/", options="data-server-cookie")
    context.add_cookies([{"name": "analytics_user_id", "value": given, "url": url, "expires": 4102444800}])
    open_page(page, url)
    hide(page)
    [event] = stub_api.wait_for("page_view")
    assert event["user_id"] == given
    assert stub_api.requests[0].path.endswith("&cookie=1")
    [cookie] = context.cookies(url)
    assert cookie["expires"] > 4_000_000_000 or cookie["expires"] > page.evaluate("Date.now() / 1000") + 380 * 86_400


@pytest.fixture
def own_domain(api: RealApi) -> Iterator[Site]:
    """Serve a website whose API runs on a subdomain of the site's domain and sets the visitor's cookie."""
    api.server.add_site(api.site_id + "-own", api.site_key + "-own", ["shop.localhost"])
    api.site_id += "-own"
    api.site_key += "-own"
    with closing(Site(api)) as site:
        source = f"http://api.shop.localhost:{api.server.port}/collector.js"
        site.pages["/"] = (
            f'<!doctype html><title>Page</title><script async src="{source}" data-site-key="{api.site_key}"'
            ' data-consent="opt-out" data-server-cookie data-localhost></script>'
        )
        yield site


def cookie_of(page: Page) -> str:
    """Return the visitor ID in the cookies that a script can read."""
    return page.evaluate("(/analytics_user_id=([^;]*)/.exec(document.cookie) || [])[1] || ''")


def test_reset_replaces_the_cookie_set_by_the_server(page: Page, own_domain: Site, api: RealApi) -> None:
    """Earlier, the API renewed the former cookie, which brought the former visitor back with the next page."""
    url = own_domain.url("/", host="www.shop.localhost")
    open_page(page, url)
    page.evaluate("tildaAnalytics.track('signup')")
    former = wait_until(lambda: cookie_of(page))
    page.evaluate("tildaAnalytics.track('click'); tildaAnalytics.reset(); tildaAnalytics.track('signup')")
    api.wait_for("signup", count=2)
    renewed = wait_until(lambda: cookie_of(page))
    assert renewed == page.evaluate("localStorage.analytics_user_id") != former
    open_page(page, url)
    assert page.evaluate("localStorage.analytics_user_id") == renewed


def test_withdrawal_removes_the_cookie_set_by_the_server(page: Page, own_domain: Site, api: RealApi) -> None:
    """Earlier, without data-cookie-domain, the cookie of the parent domain stayed."""
    open_page(page, own_domain.url("/", host="www.shop.localhost"))
    page.evaluate("tildaAnalytics.track('signup')")
    wait_until(lambda: cookie_of(page))
    page.evaluate("tildaAnalytics.consent(false)")
    assert page.context.cookies() == []


def test_answer_after_a_withdrawal_leaves_no_cookie(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/", options="data-server-cookie"))
    stub_api.answer = lambda request: Answer(hang_seconds=0.5)
    page.evaluate("tildaAnalytics.track('signup')")
    wait_until(lambda: any(event["event_type"] == "signup" for one in stub_api.requests for event in one.events))
    # The stub is on another site, so a script sets the cookie that the API would set.
    page.evaluate("tildaAnalytics.consent(false); document.cookie = 'analytics_user_id=former-visitor'")
    wait_until(lambda: page.evaluate("document.cookie") == "")


def test_page_without_a_secure_context_records_events(page: Page, site: Site, api: RealApi) -> None:
    site.page("/")
    open_page(page, site.url("/", host="plain.test"))
    assert not page.evaluate("isSecureContext")
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("signup")


def test_duplicate_script_records_one_page_view(page: Page, site: Site, api: RealApi) -> None:
    page.on("console", lambda message: None)
    open_page(page, site.page("/", site.snippet()))
    page.wait_for_load_state("networkidle")
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("signup")
    assert len(api.of_type("page_view")) == 1


def test_full_storage_loses_no_event(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate(
        """() => {
            for (let size = 1 << 22; size >= 1; size >>= 1)
                try { for (let n = 0; ; n++) localStorage[`full-${size}-${n}`] = 'x'.repeat(size); } catch {}
        }"""
    )
    page.evaluate("tildaAnalytics.track('first'); tildaAnalytics.track('signup')")
    api.wait_for("first", "signup", count=2)
    wait_until(lambda: all(not key.startswith("analytics_queue") for key in stored(page)))
