"""Recording of carts, popups, forms and payments that Tilda's own scripts handle."""

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


def test_tilda_cart_popup_and_form_are_recorded(page: Page, api: RealApi) -> None:
    with serve(api.site_key, api.url) as url:
        open_page(page, url)
        page.click("#rec102 .js-product-buy >> nth=1")
        page.click("a.tn-atom")
        page.fill("#form105 [name=Phone]", "+7 800 123 45 67")
        page.click("#form105 .t-submit")
        [submit] = api.wait_for("form_submit")
    [cart] = api.of_type("add_to_cart")
    assert cart["payload"]["order"] == {
        "amount": 1.2, "currency": "EUR", "items": [{"name": "Poppy roll", "price": 1.2, "quantity": 1}]
    }  # fmt: skip
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


def test_payment_is_recorded_as_a_purchase_with_the_cart_items(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", head=STATISTICS))
    given = page.evaluate(
        """() => {
            window.tcart = { products: [{ name: 'Chair', sku: 'C1', price: '1 990,50', quantity: 2 }] };
            return Tilda.sendEventToStatistics('/tilda/form9/payment/', 'Order 1887', '', '3981.00');
        }"""
    )
    [purchase] = api.wait_for("purchase")
    assert purchase["payload"]["order"] == {
        "id": "1887", "amount": 3981, "items": [{"name": "Chair", "sku": "C1", "price": 1990.5, "quantity": 2}]
    }  # fmt: skip
    assert given == 7, "the wrapper returns the value of Tilda's function"
    assert page.evaluate("statisticsCalls") == [["/tilda/form9/payment/", "Order 1887", "", "3981.00"]]


def test_tilda_statistics_loaded_later_are_recorded(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", "<button>Buy</button>"))
    page.evaluate("window.Tilda = { sendEventToStatistics() {} }")
    page.click("button")
    page.evaluate(
        "Tilda.sendEventToStatistics('/tilda/cart/add/17', 'Chair', '', 1990); tildaAnalytics.track('signup')"
    )
    [cart] = api.wait_for("add_to_cart")
    assert cart["payload"]["order"]["items"] == [{"name": "Chair", "price": 1990, "quantity": 1}]


def test_collector_errors_do_not_reach_tilda(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", head=STATISTICS))
    page.evaluate("window.tcart = { products: 'nonsense' }; Tilda.sendEventToStatistics('/payment/', 'Order 1', '', 1)")
    page.evaluate("tildaAnalytics.track('loop', window); tildaAnalytics.purchase(); tildaAnalytics.push('nonsense')")
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("signup")
    assert wait_until(lambda: page.evaluate("statisticsCalls.length")) == 1
    assert api.rejected == []
