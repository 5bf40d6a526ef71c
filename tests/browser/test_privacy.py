"""Text that visitors type, query strings and personal data on the page are not sent."""

import hashlib
import json

import pytest
from playwright.sync_api import Page

from tests.browser.actions import hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import Site
from tests.browser.stub_api import StubApi

FORM = """
<form id="f" action="/done" method="post">
  <input name="Name"><input name="city"><input type="email" name="Email"><input type="password" name="pass">
  <select name="size"><option>small</option><option>large</option></select>
  <input type="checkbox" name="news"><textarea name="Wishes"></textarea><button>Send</button>
</form>
"""


def fill_and_send(page: Page) -> None:
    page.fill("[name=Name]", "Anna Petrova")
    page.fill("[name=city]", "Kazan")
    page.fill("[name=Email]", " Anna@Example.COM ")
    page.fill("[name=pass]", "hunter2")
    page.select_option("[name=size]", "large")
    page.check("[name=news]")
    page.fill("[name=Wishes]", "no onions")
    page.click("[name=Wishes]")
    page.click("button")
    page.wait_for_url("**/done")


def test_form_values_are_not_sent_by_default(page: Page, site: Site, api: RealApi) -> None:
    site.page("/done")
    open_page(page, site.page("/", FORM))
    fill_and_send(page)
    api.wait_for("form_submit")
    sent_text = str(api.events)
    for secret in (
        "Anna",
        "Kazan",
        "hunter2",
        "large",
        "onions",
        "xample",
        hashlib.sha256(b"anna@example.com").hexdigest(),
    ):
        assert secret not in sent_text


def test_listed_form_fields_and_the_email_hash_are_sent_when_enabled(page: Page, site: Site, api: RealApi) -> None:
    site.page("/done")
    open_page(page, site.page("/", FORM, options='data-form-fields="city, size news" data-hash-email'))
    fill_and_send(page)
    [submit] = api.wait_for("form_submit")
    assert submit["payload"]["form"]["fields"] == {"city": "Kazan", "size": "large", "news": True}
    assert submit["payload"]["identity"] == {"email_sha256": hashlib.sha256(b"anna@example.com").hexdigest()}
    assert "Anna" not in str(api.events)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<a href="#" id="t">Plain text</a>', "Plain text"),
        ('<a href="#" id="t">Order <textarea>secret</textarea></a>', "Order"),
        ('<button id="t" data-private>Anna Petrova</button>', "***"),
        ('<div data-private><button id="t">Anna Petrova</button></div>', "***"),
        ('<button id="t">Pay for <b data-private>Anna</b></button>', "Pay for"),
        ('<div contenteditable><p id="t">Dear diary</p></div>', None),
        ('<div id="t" style="padding: 9px"><p>Half</p><p>of the page</p></div>', None),
        ('<div id="t">Anna Petrova</div>', None),
        ('<div class="tn-atom" id="t">Anna Petrova</div>', None),
        ('<div onclick="" id="t">Anna Petrova</div>', None),
        ('<label id="t">Size <select><option>Anna</select></label>', "Size"),
        ('<button id="t">Call +7 (900) 123-45-67</button>', "Call ***"),
        ('<button id="t">Buy for 1 990 ₽</button>', "Buy for 1 990 ₽"),
        ('<input id="t" type="submit" value="Anna">', None),
        ('<button id="t">' + "long " * 100 + "</button>", ("long " * 20).strip()),
    ],
)
def test_click_text_excludes_private_and_editable_content(
    page: Page, site: Site, api: RealApi, html: str, text: str | None
) -> None:
    open_page(page, site.page("/", html))
    page.click("#t", position={"x": 3, "y": 3})
    hide(page)
    click, *_ = api.wait_for("click")  # a click on a label is also one on its field
    assert click["target_text"] == text
    assert click["target_element"] == "#t"


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Anna, anna.petrova+x@mail.example.com, 3 items", "Anna, ***, 3 items"),
        ("Заказ для анна@почта.рф готов", "Заказ для *** готов"),
        ("+7 900 123-45-67", "***"),
        ("8 (800) 555‑35‑35 ext. 4", "*** ext. 4"),
        ("Card 4111 1111 1111 1111 ok", "Card *** ok"),
        ("Order 12345678", "Order ***"),
        ("Flat for 12 990 000 ₽", "Flat for 12 990 000 ₽"),
        ("1 990 – 2 990 ₽", "1 990 – 2 990 ₽"),
        ("Sale 2026: 123456 items", "Sale 2026: 123456 items"),
        ("x" * 295 + " anna@example.com", "x" * 295 + " ***"),
    ],
)
def test_titles_are_redacted(page: Page, stub_site: Site, stub_api: StubApi, title: str, kept: str) -> None:
    open_page(page, stub_site.page("/", head=f"<script>document.title = {json.dumps(title)}</script>"))
    hide(page)
    [view] = stub_api.wait_for("page_view")
    assert view["page_title"] == kept


def test_form_names_are_redacted(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    open_page(page, stub_site.page("/", '<form name="Call 8 800 555-35-35"><input></form>'))
    page.fill("input", "x")
    hide(page)
    [start] = stub_api.wait_for("form_start")
    assert start["payload"]["form"]["name"] == "Call ***"


def test_query_of_a_get_form_is_not_sent(page: Page, site: Site, api: RealApi) -> None:
    """Earlier, the URL of the next page and the referrer of the one after it contained what the visitor had typed."""
    form = '<form action="/found"><input name="Email"><input name="password" type="password"><button>Go</button></form>'
    site.page("/found", '<a href="/third">Next</a>')
    site.page("/third")
    open_page(page, site.page("/", form))
    page.fill("[name=Email]", "anna@example.com")
    page.fill("[name=password]", "hunter2")
    page.click("button")
    page.wait_for_url("**/found?*")
    page.click("a")
    page.wait_for_url("**/third")
    hide(page)
    views = api.wait_for("page_view", count=3)
    assert [view["page_url"] for view in views] == [site.url("/"), site.url("/found"), site.url("/third")]
    assert views[2]["referrer"] == site.url("/found")
    assert "anna" not in str(api.events)
    assert "hunter2" not in str(api.events)


@pytest.mark.parametrize(
    ("options", "query", "kept"),
    [
        ("", "?utm_source=vk&token=abc&yclid=12345678901234567890", "?utm_source=vk&yclid=12345678901234567890"),
        ("", "?token=abc&utm_campaign=a%20b&id=1#part", "?utm_campaign=a%20b"),
        ("", "?utm_content=anna%40example.com", "?utm_content=***"),
        ("", "?", ""),
        ('data-query="id, color"', "?a=b&color=red&id=1&id=2&ID=3&color[]=x&%69d=4", "?color=red&id=1&id=2"),
        ("data-hash", "?a=b#/cart?token=abc", "#/cart"),
        ("data-hash", "#access_token=abc&x=y", "#access_token"),
    ],
)
def test_page_url_keeps_campaign_parameters_and_listed_ones(
    page: Page, stub_site: Site, stub_api: StubApi, options: str, query: str, kept: str
) -> None:
    open_page(page, stub_site.page("/", options=options) + query)
    hide(page)
    [view] = stub_api.wait_for("page_view")
    assert view["page_url"] == stub_site.url("/") + kept


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/tproduct/500391223-857382911231-boots", "/tproduct/500391223-857382911231-boots"),
        ("/stop/anna@example.com/now", "/stop/***/now"),
        ("/stop/anna%40example.com", "/stop/***"),
        ("/call/+79001234567", "/call/***"),
        ("/card/4111111111111111", "/card/***"),
    ],
)
def test_paths_are_redacted_except_for_ids(
    page: Page, stub_site: Site, stub_api: StubApi, path: str, kept: str
) -> None:
    open_page(page, stub_site.page(path))
    hide(page)
    [view] = stub_api.wait_for("page_view")
    assert view["page_url"] == stub_site.url(kept)


@pytest.mark.parametrize(
    ("href", "kept"),
    [
        ("mailto:anna@example.com?subject=Order", "mailto:"),
        ("tel:+79001234567", "tel:"),
        ("tel://+79001234567", "tel:"),
        ("whatsapp://send?phone=79001234567", "whatsapp:"),
        ("https://other.example/a?session=abc&utm_source=shop#top", "https://other.example/a?utm_source=shop"),
        ("/price.pdf?token=abc", "/price.pdf"),
    ],
)
def test_link_targets_contain_no_personal_data(
    page: Page, stub_site: Site, stub_api: StubApi, href: str, kept: str
) -> None:
    stub_site.page("/", f'<a id="t" href="{href}" onclick="event.preventDefault()">Link</a>')
    open_page(page, stub_site.url("/"))
    page.click("#t")
    [link] = stub_api.wait_for("outbound_click", "file_download")
    assert link["payload"]["link"]["url"] == (stub_site.url(kept) if kept.startswith("/") else kept)


def test_function_before_sending_changes_and_drops_events(page: Page, stub_site: Site, stub_api: StubApi) -> None:
    function = """
      function check(event) {
        if (event.event_type === 'secret') return false;
        if (event.event_type === 'gone') return null;
        if (event.event_type === 'broken') throw new Error('broken');
        if (event.event_type === 'other') return { ...event, event_type: 'replaced' };
        event.page_title = 'Changed';
      }"""
    url = stub_site.page("/", head=f"<script>{function}</script>", options='data-before-send="check"')
    open_page(page, url)
    page.evaluate("['secret', 'gone', 'broken', 'other', 'signup'].forEach((name) => tildaAnalytics.track(name))")
    hide(page)
    stub_api.wait_for("page_leave")
    titles = {event["event_type"]: event["page_title"] for event in stub_api.events}
    assert titles == {
        "page_view": "Changed",
        "broken": "Page /",
        "replaced": "Page /",
        "signup": "Changed",
        "page_leave": "Changed",
    }
