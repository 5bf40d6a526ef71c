"""What is decided before the first event: own visits, properties of all events, visitors from a linked domain."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page

from tests.browser.actions import READY, hide, open_page, stored, watch_sending
from tests.browser.event_log import RealApi
from tests.browser.site import Site

SHOP = "shop.test"
BLOG = "blog.test"
LINKER = f'data-linker="{SHOP}, {BLOG}"'


def remove_localhost(site: Site, path: str = "/") -> None:
    site.pages[path] = site.pages[path].replace(" data-localhost", "")


# --- Own visits ---


@pytest.mark.parametrize("host", ["shop.localhost", "localhost", "127.0.0.1"])
def test_local_pages_are_not_recorded(page: Page, site: Site, api: RealApi, host: str) -> None:
    site.page("/")
    remove_localhost(site)
    sent = watch_sending(page)
    with page.expect_event("requestfinished", lambda request: request.url.endswith("collector.early.js")):
        open_page(page, site.url("/", host=host))
    page.wait_for_timeout(200)
    hide(page)
    page.wait_for_timeout(200)
    assert sent == []


def test_page_of_the_internet_needs_no_module(page: Page, site: Site, api: RealApi) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    site.page("/local/127.0.0.1/")
    remove_localhost(site, "/local/127.0.0.1/")
    open_page(page, site.url("/local/127.0.0.1/?x=localhost", host=SHOP))
    hide(page)
    api.wait_for("page_view")
    assert not any("early" in url for url in requested)


def test_link_excludes_this_browser_and_includes_it_again(page: Page, site: Site, api: RealApi) -> None:
    site.page("/")
    sent = watch_sending(page)
    url = site.url("/", host=SHOP)
    open_page(page, url + "?ta_ignore=1&x=1#top")
    page.wait_for_function("!location.search.includes('ta_ignore')")
    assert page.url == url + "?x=1#top"
    open_page(page, url)
    hide(page)
    page.wait_for_timeout(300)
    assert sent == []
    open_page(page, url + "?ta_ignore=0")
    hide(page)
    api.wait_for("page_view")
    assert "analytics_ignored" not in stored(page)


def test_link_does_not_undo_the_opt_out_of_a_visitor(page: Page, site: Site, api: RealApi) -> None:
    site.page("/")
    url = site.url("/", host=SHOP)
    open_page(page, url)
    page.evaluate("tildaAnalytics.optOut()")
    open_page(page, url + "?ta_ignore=1")
    open_page(page, url + "?ta_ignore=0")
    page.wait_for_function("!location.search")
    assert stored(page)["analytics_consent"] == "never"


# --- Properties ---


def test_properties_are_part_of_every_event(page: Page, site: Site, api: RealApi) -> None:
    options = """data-props='{"plan": "pro", "seats": 3, "deep": {"no": 1}}'"""
    head = "<script>window.tildaAnalytics = [['setProperties', { theme: 'dark' }]];</script>"
    open_page(page, site.page("/", "<button>Press</button>", head=head, options=options))
    page.click("button")
    page.evaluate("tildaAnalytics.setProperties({ plan: 'free', seats: null, long: 'x'.repeat(999) })")
    page.evaluate("tildaAnalytics.track('test', { plan: 'own', size: 1 })")
    hide(page)
    api.wait_for("page_leave")
    custom = {event["event_type"]: event["payload"]["custom"] for event in api.events}
    assert custom["page_view"] == {"plan": "pro", "seats": 3} or custom["page_view"] == {
        "plan": "pro",
        "seats": 3,
        "theme": "dark",
    }
    assert custom["click"] == {"plan": "pro", "seats": 3, "theme": "dark"}
    assert custom["test"] == {"plan": "own", "size": 1, "theme": "dark", "long": "x" * 200}
    assert custom["page_leave"] == {"plan": "free", "theme": "dark", "long": "x" * 200}


def test_number_of_properties_is_bounded(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", options="data-props"))
    page.evaluate("for (let i = 0; i < 99; i++) tildaAnalytics.setProperties({ ['p' + i]: i })")
    page.evaluate("tildaAnalytics.track('test')")
    hide(page)
    [event] = api.wait_for("test")
    assert len(event["payload"]["custom"]) == 20


# --- Linked domains ---


def follow(page: Page, site: Site, *, options: str = LINKER) -> str:
    """Open the shop, follow its link to the blog, and return the URL that the browser requested."""
    site.page("/", f'<a href="{site.url("/blog?x=1", host=BLOG)}#part">Blog</a>', options=options)
    site.page("/blog", options=options)
    with page.expect_event("requestfinished", lambda request: request.url.endswith("collector.linker.js")):
        open_page(page, site.url("/", host=SHOP))
    page.wait_for_timeout(100)
    with page.expect_request(lambda request: request.is_navigation_request()) as request:
        page.click("a")
    page.wait_for_url("**/blog**")
    page.wait_for_function(READY)
    return request.value.url


def test_visitor_is_the_same_on_a_linked_domain(page: Page, site: Site, api: RealApi) -> None:
    requested = follow(page, site)
    page.wait_for_function("!location.search.includes('_ta')")
    assert page.url == site.url("/blog?x=1", host=BLOG) + "#part"
    hide(page)
    first, second = api.wait_for("page_view", count=2)
    assert first["user_id"] == second["user_id"]
    assert parse_qs(urlsplit(requested).query)["_ta"][0].startswith(first["user_id"] + ".")
    assert "_ta" not in second["page_url"]
    assert "visit_referrer" not in second["payload"]


def test_form_leads_the_visitor_to_a_linked_domain(page: Page, site: Site, api: RealApi) -> None:
    action = site.url("/blog", host=BLOG)
    body = f'<form action="{action}"><input name="q" value="1"><button>Go</button></form>'
    site.page("/", body, options=LINKER)
    site.page("/blog", options=LINKER)
    with page.expect_event("requestfinished", lambda request: request.url.endswith("collector.linker.js")):
        open_page(page, site.url("/", host=SHOP))
    page.wait_for_timeout(100)
    page.click("button")
    page.wait_for_url("**/blog?q=1")
    page.wait_for_function(READY)
    hide(page)
    views = api.wait_for("page_view", count=2)
    assert len({view["user_id"] for view in views}) == 1


def test_link_keeps_its_address_after_the_click(page: Page, site: Site, api: RealApi) -> None:
    target = site.url("/blog", host=BLOG)
    body = f'<a href="{target}" onclick="event.preventDefault()">Blog</a><a id="other" href="https://other.test/">O</a>'
    site.page("/", body, options=LINKER)
    with page.expect_event("requestfinished", lambda request: request.url.endswith("collector.linker.js")):
        open_page(page, site.url("/", host=SHOP))
    page.wait_for_timeout(100)
    page.evaluate(
        """addEventListener('click', (event) => {
            window.seen = event.target.getAttribute('href');
            event.preventDefault();
        })"""
    )
    page.click("a >> nth=0")
    assert re.fullmatch(re.escape(target) + r"\?_ta=[\w-]{36}\.[0-9a-z]+", page.evaluate("seen"))
    page.wait_for_timeout(50)
    assert page.get_attribute("a >> nth=0", "href") == target
    page.click("#other")
    assert page.evaluate("seen") == "https://other.test/"


@pytest.mark.parametrize("case", ["old", "stranger", "direct", "no option", "not an ID"])
def test_visitor_id_of_an_invalid_link_is_not_used(page: Page, site: Site, api: RealApi, case: str) -> None:
    foreign = "00000000-0000-4000-8000-000000000000" if case != "not an ID" else "%22%3E%3Cb%3E"
    age = 600 if case == "old" else 0
    open_page(page, site.page("/"))
    time = page.evaluate(f"(Math.floor(Date.now() / 1000) - {age}).toString(36)")
    target = site.url(f"/blog?_ta={foreign}.{time}", host=BLOG)
    site.page("/blog", options="" if case == "no option" else LINKER)
    site.page("/from", f'<a href="{target}">Blog</a>')
    if case == "direct":
        page.goto("about:blank")
        page.goto(target)
    else:
        page.goto(site.url("/from", host="evil.test" if case == "stranger" else SHOP))
        page.click("a")
    page.wait_for_url("**/blog**")
    page.wait_for_function(READY)
    page.wait_for_function("!location.search")
    hide(page)
    views = [event for event in api.wait_for("page_view", count=2) if event["page_path"] == "/blog"]
    assert views
    assert all(view["user_id"] != foreign for view in views)


def test_links_of_a_visitor_without_consent_stay_as_they_are(page: Page, site: Site, api: RealApi) -> None:
    site.page("/", f'<a href="{site.url("/blog", host=BLOG)}">Blog</a>', options=f'{LINKER} data-consent="opt-in"')
    site.page("/blog", options=f'{LINKER} data-consent="opt-in"')
    open_page(page, site.url("/", host=SHOP))
    page.evaluate("tildaAnalytics.consent(true)")
    page.wait_for_timeout(500)
    page.evaluate("tildaAnalytics.consent(false)")
    page.click("a")
    page.wait_for_url(site.url("/blog", host=BLOG))


def test_linked_visitor_is_unknown_until_consent(page: Page, site: Site, api: RealApi) -> None:
    follow(page, site)
    hide(page)
    [visitor] = {event["user_id"] for event in api.wait_for("page_view", count=2)}
    assert stored(page)["analytics_user_id"] == visitor
    page.evaluate("tildaAnalytics.consent(false); tildaAnalytics.consent(true)")
    assert stored(page)["analytics_user_id"] != visitor
