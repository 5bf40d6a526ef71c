"""The events that the collector records, and their fields."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import TALL, Site

TILDA_FORM = """
<form id="form7" class="t-form js-form-proccess">
  <input type="hidden" name="tildaspec-formname" value="Order"><input name="Name">
  <button class="t-submit" type="submit">Send</button>
</form>
<script>
  document.querySelector('.t-submit').addEventListener('click', (event) => {
    event.preventDefault();
    const form = document.querySelector('form');
    form.tildaTranId = '12:345';
    form.dispatchEvent(new CustomEvent(window.outcome || 'tildaform:aftersuccess', { bubbles: true }));
    form.tildaTranId = '0';
  });
</script>
"""


def test_page_view_contains_every_documented_field(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/a") + "?utm_source=vk&utm_medium=cpc&utm_campaign=spring&gclid=g1#part")
    hide(page)
    [event] = api.wait_for("page_view")
    assert UUID(event["event_id"]).version == 4
    assert UUID(event["session_id"])
    assert UUID(event["user_id"])
    assert abs(datetime.fromisoformat(event["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert event["page_url"] == site.url("/a") + "?utm_source=vk&utm_medium=cpc&utm_campaign=spring&gclid=g1"
    assert event["page_title"] == "Page /a"
    payload = event["payload"]
    assert UUID(payload["page_view_id"])
    assert payload["utm"] == {"source": "vk", "medium": "cpc", "campaign": "spring"}
    assert payload["click_ids"] == {"gclid": "g1"}
    assert payload["viewport"] == {"width": 1000, "height": 800}
    assert payload["device"]["language"]
    assert payload["device"]["utc_offset"] == page.evaluate("-new Date().getTimezoneOffset()")


def test_bot_exceptions_setting_admits_the_headless_test_browser(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/a"))
    hide(page)
    [event] = api.wait_for("page_view")
    assert "HeadlessChrome" in event["user_agent"]
    assert (event["is_bot"], event["device_type"]) == (False, "desktop")


def test_click_records_position_target_and_text(page: Page, site: Site, api: RealApi) -> None:
    body = f'{TALL}<div id="rec9"><a class="t-btn active" href="#x"><b>Order</b>\n  bread</a></div>{TALL}'
    open_page(page, site.page("/", body))
    page.click(".t-btn b")
    hide(page)
    [event] = api.wait_for("click")
    assert event["target_element"] == "#rec9 > a.t-btn"
    assert event["target_text"] == "Order bread"
    assert 5000 < event["payload"]["click"]["y"] < 5100, "coordinates are relative to the document, not to the window"
    assert event["payload"]["click"]["button"] == 0
    assert event["payload"]["page"]["height"] > 10_000


def test_scroll_event_reports_the_maximum_depth_after_scrolling_stops(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", TALL))
    for position in (500, 1000, 1500, 2000):
        page.evaluate("y => scrollTo(0, y)", position)
    page.wait_for_timeout(400)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(400)
    hide(page)
    [scroll] = api.wait_for("scroll")
    assert scroll["payload"]["scroll"] == {"scrollPercent": 56}
    [leave] = api.wait_for("page_leave")
    assert leave["payload"]["scroll"] == {"scrollPercent": 56}
    timing = leave["payload"]["timing"]
    assert 0 < timing["engagedTime"] <= timing["timeOnPage"] < 60


def test_tilda_form_without_submit_event_is_recorded(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", TILDA_FORM))
    page.fill("[name=Name]", "Anna")
    page.click(".t-submit")
    [submit] = api.wait_for("form_submit", seconds=2)
    assert submit["payload"]["form"] == {"id": "form7", "name": "Order", "tranid": "12:345"}
    [start] = api.of_type("form_start")
    assert start["payload"]["form"] == {"id": "form7", "name": "Order"}
    assert "Anna" not in str(api.events)


def test_failed_tilda_form_is_recorded_as_form_error(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", TILDA_FORM))
    page.evaluate("window.outcome = 'tildaform:aftererror'")
    page.click(".t-submit")
    hide(page)
    [error] = api.wait_for("form_error")
    assert error["payload"]["form"]["id"] == "form7"
    assert api.of_type("form_submit") == []


def test_html_form_is_recorded_during_navigation(page: Page, site: Site, api: RealApi) -> None:
    site.page("/done")
    form = '<form id="f" name="login" method="post" action="/done"><input name="user"><button>Go</button></form>'
    open_page(page, site.page("/", form))
    page.click("button")
    page.wait_for_url("**/done")
    [submit] = api.wait_for("form_submit", seconds=2)
    assert submit["payload"]["form"] == {"id": "f", "name": "login"}


def test_form_abandon_contains_the_last_field(page: Page, site: Site, api: RealApi) -> None:
    site.page("/next")
    open_page(page, site.page("/", '<form id="f"><input name="one"><input name="two"></form>'))
    page.fill("[name=one]", "1")
    page.fill("[name=two]", "2")
    open_page(page, site.url("/next"))
    [abandon] = api.wait_for("form_abandon")
    assert abandon["payload"]["form"] == {"id": "f", "field": "two"}


def test_calls_before_the_script_loads_are_recorded(page: Page, site: Site, api: RealApi) -> None:
    head = "<script>(window.tildaAnalytics = []).push(['track', 'signup', {plan: 'pro'}])</script>"
    open_page(page, site.page("/", head=head))
    [event] = api.wait_for("signup", seconds=2)
    assert event["payload"]["custom"] == {"plan": "pro"}


def test_storage_cookie_and_events_contain_the_same_ids(
    page: Page, context: BrowserContext, site: Site, api: RealApi
) -> None:
    open_page(page, site.page("/"))
    hide(page)
    [event] = api.wait_for("page_view")
    assert page.evaluate("localStorage.analytics_user_id") == event["user_id"]
    assert page.evaluate("sessionStorage.analytics_session_id") == event["session_id"]
    assert {cookie["name"]: cookie["value"] for cookie in context.cookies()} == {"analytics_user_id": event["user_id"]}
    assert re.fullmatch(r"[0-9a-f-]{36}", event["user_id"])


def test_scroll_depth_is_a_share_of_the_page_as_it_is_when_reported(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", '<div id="content" style="height: 900px"></div>'))
    page.evaluate("scrollTo(0, 50)")
    page.wait_for_timeout(400)
    page.evaluate("document.querySelector('#content').style.height = '9000px'")  # a lazy block arrives
    page.wait_for_timeout(400)
    hide(page)
    [leave] = api.wait_for("page_leave")
    assert leave["payload"]["scroll"] == {"scrollPercent": 9}


def test_click_on_a_label_counts_once(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", '<label><b>I agree</b> <input type="checkbox"></label>'))
    page.click("b")
    assert page.is_checked("input")
    page.click("input")
    hide(page)
    api.wait_for("page_leave")
    assert [click["target_element"] for click in api.of_type("click")] == [
        "html > body > label",
        "html > body > label > input",
    ]


def test_click_by_keyboard_lies_in_the_middle_of_the_element(page: Page, site: Site, api: RealApi) -> None:
    button = '<button style="position: absolute; left: 100px; top: 3000px; width: 80px; height: 40px">Order</button>'
    open_page(page, site.page("/", button + TALL))
    page.focus("button")
    page.keyboard.press("Enter")
    hide(page)
    [click] = api.wait_for("click")
    assert click["payload"]["click"] == {"x": 140, "y": 3020, "button": 0}


def test_click_by_a_script_is_not_recorded(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", '<a href="https://elsewhere.example/" onclick="return false">Go</a>'))
    page.evaluate("document.querySelector('a').click()")
    hide(page)
    api.wait_for("page_leave")
    assert api.of_type("click", "outbound_click") == []


def test_long_texts_are_cut_between_characters(page: Page, site: Site, api: RealApi) -> None:
    long = "\N{BREAD}" * 99 + "x" + "\N{BREAD}" * 3000
    site.page("/", f"<button>{long}</button>")
    open_page(page, site.url("/") + f"?utm_campaign={long[:300]}&gclid=first&gclid=second")
    page.evaluate("title => { document.title = title }", long)
    page.click("button")
    hide(page)
    [click] = api.wait_for("click")
    [view] = api.wait_for("page_view")
    assert click["target_text"] == long[:100]
    assert click["page_title"] == long[:300]
    assert view["payload"]["utm"] == {"campaign": long[:200]}
    assert view["payload"]["click_ids"] == {"gclid": "first"}
    assert api.rejected == []


@pytest.mark.parametrize("name", ["gbraid", "wbraid", "ttclid", "twclid", "li_fat_id", "dclid", "vkclid", "rb_clickid"])
def test_click_ids_of_advertising_networks_are_read(page: Page, site: Site, api: RealApi, name: str) -> None:
    open_page(page, site.page("/") + f"?{name}=abc")
    [view] = api.wait_for("page_view")
    assert view["payload"]["click_ids"] == {name: "abc"}
