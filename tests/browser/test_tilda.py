"""Recording of popups and forms that Tilda's own scripts report. `demo/page/tilda.js` names their functions."""

from playwright.sync_api import Page

from demo.page import serve
from tests.browser.actions import READY, hide, open_page
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import Site

STATISTICS = """
<script>
  window.statisticsCalls = [];
  window.Tilda = { sendEventToStatistics(...args) { statisticsCalls.push(args); return 7; } };
</script>
"""


def test_popup_and_form_are_recorded(page: Page, api: RealApi) -> None:
    with serve(api.site_key, api.url) as url:
        open_page(page, url)
        page.click("a.tn-atom")
        page.fill("#form105 [name=Phone]", "+7 800 123 45 67")
        page.click("#form105 .t-submit")
        [submit] = api.wait_for("form_submit")
    [popup] = api.of_type("popup_open")
    assert popup["payload"]["popup"] == {"id": "rec105"}
    assert submit["payload"]["form"] == {"id": "form105", "name": "Call back", "tranid": "1:1"}
    zero_block = next(click for click in api.of_type("click") if click["target_text"] == "Call me back")
    assert zero_block["target_element"] == "#rec101 > a.tn-atom"


def test_form_submit_is_recorded_before_its_redirect(page: Page, api: RealApi) -> None:
    with serve(api.site_key, api.url) as url:
        open_page(page, url)
        page.fill("#form104 [name=Name]", "Anna")
        page.click("#form104 .t-submit")
        page.wait_for_url("**/thanks.html")
        page.wait_for_function(READY)
        hide(page)
        views = api.wait_for("page_view", count=2)
    [submit] = api.wait_for("form_submit")
    assert {view["session_id"] for view in views} == {submit["session_id"]}
    assert submit["payload"]["page_view_id"] == views[0]["payload"]["page_view_id"]


def test_a_form_may_be_sent_twice(page: Page, api: RealApi) -> None:
    with serve(api.site_key, api.url) as url:
        open_page(page, url)
        page.click("a.tn-atom")
        for number in ("1", "2"):
            page.fill("#form105 [name=Phone]", number)
            page.click("#form105 .t-submit")
            page.wait_for_function("document.querySelector('#form105 [name=Phone]').value === ''")
        first, second = api.wait_for("form_submit", count=2)
    assert [one["payload"]["form"]["tranid"] for one in (first, second)] == ["1:1", "1:2"]
    assert len(api.of_type("form_start")) == 2


def test_a_form_without_a_transaction_number_is_recorded_without_tranid(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", '<form id="f" class="js-form-proccess"><input name="a"></form>'))
    page.evaluate(
        """() => {
            const form = document.querySelector('form');
            form.tildaTranId = '0';
            form.dispatchEvent(new CustomEvent('tildaform:aftersuccess', { bubbles: true }));
        }"""
    )
    [submit] = api.wait_for("form_submit")
    assert submit["payload"]["form"] == {"id": "f"}


def test_fields_that_scripts_change_start_no_form(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", '<form id="f"><input name="a"><select name="b"><option>1</option></select></form>'))
    page.evaluate(
        """() => {
            for (const type of ['input', 'change']) {
                document.querySelector('input').dispatchEvent(new Event(type, { bubbles: true }));
                document.querySelector('select').dispatchEvent(new Event(type, { bubbles: true }));
            }
            document.querySelector('form').dispatchEvent(new Event('submit', { bubbles: true, cancelable: true }));
        }"""
    )
    page.goto("about:blank")
    api.wait_for("page_leave")
    assert api.of_type("form_start", "form_abandon", "form_submit") == []


def test_tildas_function_gets_its_arguments_and_returns_its_value(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", head=STATISTICS))
    given = page.evaluate("Tilda.sendEventToStatistics('/tilda/form9/payment/', 'Order 1887', '', '3981.00')")
    api.wait_for("purchase")
    assert given == 7
    assert page.evaluate("statisticsCalls") == [["/tilda/form9/payment/", "Order 1887", "", "3981.00"]]


def test_tilda_statistics_loaded_later_are_recorded(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", "<button>Buy</button>"))
    page.evaluate("window.Tilda = { sendEventToStatistics() {} }")
    page.click("button")
    page.evaluate("Tilda.sendEventToStatistics('/tilda/popup/rec1/opened', '#popup:x'); tildaAnalytics.track('signup')")
    [popup] = api.wait_for("popup_open")
    assert popup["payload"]["popup"] == {"id": "rec1"}


def test_collector_errors_do_not_reach_tilda(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", "<button>Buy</button>", head=STATISTICS))
    page.evaluate("window.tcart = { products: 'nonsense' }; window.tildaForm = { arProductsForStat: 7 }")
    page.click("button")
    page.evaluate("Tilda.sendEventToStatistics(7, 'Order 1', { ecommerce: { detail: 1 } }, 1)")
    page.evaluate("Tilda.sendEventToStatistics('/payment/', 'Order 1', null, 1)")
    page.evaluate("tildaAnalytics.track('loop', window); tildaAnalytics.purchase(); tildaAnalytics.push('nonsense')")
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("signup")
    assert wait_until(lambda: page.evaluate("statisticsCalls.length")) == 2
    assert api.rejected == []
