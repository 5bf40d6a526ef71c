"""Text that visitors type is not sent."""

import hashlib

import pytest
from playwright.sync_api import Page

from tests.browser.actions import hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import Site

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
        ('<div id="t"><p>Half</p><p>of the page</p></div>', None),
        ('<input id="t" type="submit" value="Anna">', None),
        ('<button id="t">' + "long " * 100 + "</button>", ("long " * 20).strip()),
    ],
)
def test_click_text_excludes_private_and_editable_content(
    page: Page, site: Site, api: RealApi, html: str, text: str | None
) -> None:
    open_page(page, site.page("/", html))
    page.eval_on_selector("#t", "element => element.click()")
    hide(page)
    [click] = api.wait_for("click")
    assert click["target_text"] == text
    assert click["target_element"] == "#t"
