"""The shop: product views, cart, checkout and orders, as Tilda's own scripts report them.

The page is the demo's, whose `tilda.js` names the scripts and functions of Tilda that it follows.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from demo.page import serve
from tests.browser.actions import READY, hide, open_page
from tests.browser.event_log import RealApi
from tests.browser.site import Site
from tests.number_cases import NOT_NUMBERS, NUMBERS

RYE: dict[str, Any] = {"id": "RYE-1", "sku": "RYE-1", "uid": "501", "name": "Rye loaf", "price": 4.5}
ROLL: dict[str, Any] = {"id": "502", "uid": "502", "name": "Poppy roll", "price": 1.2}


@pytest.fixture
def shop(page: Page, api: RealApi) -> Iterator[str]:
    """Open the demo page and yield its URL."""
    with serve(api.site_key, api.url) as url:
        open_page(page, url)
        yield url


def settle(page: Page) -> None:
    """Wait until the collector has compared the cart, which it does in a task of its own."""
    page.evaluate("new Promise((done) => setTimeout(done, 20))")


def add(page: Page, product: int) -> None:
    page.click(f"#rec102 .js-product-buy >> nth={product}")
    settle(page)


def change(page: Page, line: int, button: str) -> None:
    """Click a button of a line of the cart: plus, minus, del or quantity."""
    page.click(f"[data-cart-product-i='{line}'] .t706__product-{button}")
    settle(page)


def order_of(event: dict[str, Any]) -> dict[str, Any]:
    return event["payload"]["order"]


def check_out(page: Page, system: str) -> None:
    """Add two loaves to the cart, fill the order form and send it."""
    page.fill(".t-store__prod__quantity-input", "2")
    page.click("#rec102 .js-product-buy >> nth=0")
    page.click(".t706__carticon")
    page.fill("#form106 [name=Name]", "Anna")
    page.check(f"#form106 [value={system}]")
    page.click("#form106 .t-submit")


TWO_LOAVES = {"amount": 9, "currency": "EUR", "items": [RYE | {"quantity": 2}]}


def test_added_products_have_the_names_prices_and_quantities_of_the_cart(page: Page, shop: str, api: RealApi) -> None:
    page.fill(".t-store__prod__quantity-input", "3")
    add(page, 0)
    page.select_option("#rec102 select", "Honey")
    add(page, 1)
    hide(page)
    rye, roll = api.wait_for("add_to_cart", count=2)
    assert order_of(rye) == {"amount": 13.5, "currency": "EUR", "items": [RYE | {"quantity": 3}]}
    assert order_of(roll) == {"amount": 1.2, "currency": "EUR", "items": [ROLL | {"quantity": 1}]}


def test_the_cart_is_recorded_without_tildas_setting_for_statistics(page: Page, shop: str, api: RealApi) -> None:
    page.evaluate("window.tcart_sendevent_onadd = undefined")
    add(page, 1)
    hide(page)
    [added] = api.wait_for("add_to_cart")
    assert order_of(added)["items"] == [ROLL | {"quantity": 1}]


def test_quotes_in_names_are_as_on_the_page(page: Page, shop: str, api: RealApi) -> None:
    page.evaluate("""document.querySelectorAll('.js-product-name')[1].textContent = `Roll "Poppy's"`""")
    page.click("#rec102 .js-product-link >> nth=1")
    add(page, 1)
    hide(page)
    api.wait_for("add_to_cart")
    assert [order_of(one)["items"][0]["name"] for one in api.of_type("product_view", "add_to_cart")] == [
        """Roll "Poppy's\""""
    ] * 2


def test_changed_quantities_and_removals_are_recorded_with_the_difference(page: Page, shop: str, api: RealApi) -> None:
    add(page, 0)
    add(page, 1)
    page.click(".t706__carticon")
    change(page, 0, "plus")
    change(page, 0, "quantity")
    page.fill("[name=tilda-tmp-cart-qnt]", "5")
    page.keyboard.press("Tab")
    settle(page)
    change(page, 0, "minus")
    change(page, 0, "del")
    change(page, 1, "minus")  # to 0
    page.click(".t706__product-deleted__timer__return >> nth=0")
    hide(page)
    removed = api.wait_for("remove_from_cart", count=3)
    assert [order_of(one)["items"] for one in removed] == [
        [RYE | {"quantity": 1}],
        [RYE | {"quantity": 4}],
        [ROLL | {"quantity": 1}],
    ]
    assert order_of(removed[1])["amount"] == 18
    added = api.wait_for("add_to_cart", count=5)
    assert [order_of(one)["items"] for one in added] == [
        [RYE | {"quantity": 1}],
        [ROLL | {"quantity": 1}],
        [RYE | {"quantity": 1}],
        [RYE | {"quantity": 3}],
        [ROLL | {"quantity": 1}],  # "undo"
    ]


def test_a_cart_kept_from_an_earlier_visit_is_not_recorded_again(page: Page, shop: str, api: RealApi) -> None:
    add(page, 0)
    page.reload()
    page.wait_for_function(READY)
    page.click("h1")
    page.click(".t706__carticon")
    hide(page)
    api.wait_for("page_view", count=2)
    assert len(api.wait_for("add_to_cart")) == 1
    assert api.of_type("remove_from_cart") == []


def test_product_popup_is_a_product_view(page: Page, shop: str, api: RealApi) -> None:
    page.click("#rec102 .js-product-link >> nth=0")
    page.click("#rec102 .js-product-link >> nth=0")
    hide(page)
    [view] = api.wait_for("product_view")
    # Tilda leaves out SKUs that are not numbers
    item = {"id": "501", "uid": "501", "name": "Rye loaf", "price": 4.5, "quantity": 1}
    assert order_of(view) == {"amount": 4.5, "currency": "EUR", "items": [item]}
    assert len(api.wait_for("popup_open", count=2)) == 2


def test_product_page_is_a_product_view(page: Page, api: RealApi) -> None:
    with serve(api.site_key, api.url) as url:
        open_page(page, f"{url}product.html")
        page.wait_for_function("(window.dataLayer || []).some(({ event }) => event === 'viewProduct')")
        hide(page)
        [view] = api.wait_for("product_view")
    assert order_of(view)["items"][0]["uid"] == "501"


def test_product_view_before_consent_is_recorded_when_consent_is_given(page: Page, api: RealApi) -> None:
    with serve(api.site_key, api.url) as url:
        page.add_init_script("localStorage.analytics_consent = 'false'")
        open_page(page, url)
        page.click("#rec102 .js-product-link >> nth=0")
        page.evaluate("tildaAnalytics.consent(true)")
        hide(page)
        [view] = api.wait_for("product_view")
    assert order_of(view)["items"][0]["uid"] == "501"


def test_drawing_the_cart_starts_no_form(page: Page, shop: str, api: RealApi) -> None:
    add(page, 0)
    page.click(".t706__carticon")
    page.evaluate("tcart__addEvent__selectpayment()")
    page.goto("about:blank")
    api.wait_for("page_leave")
    assert api.of_type("form_start", "form_abandon", "checkout_start") == []


def test_the_first_field_of_the_order_form_starts_the_checkout(page: Page, shop: str, api: RealApi) -> None:
    add(page, 0)
    page.evaluate("t_input_promocode__activate('BREAD', 10)")
    page.click(".t706__carticon")
    page.fill("#form106 [name=Name]", "Anna")
    page.fill("#form106 [name=Email]", "anna@example.com")
    hide(page)
    [checkout] = api.wait_for("checkout_start")
    assert order_of(checkout) == {"amount": 4.05, "currency": "EUR", "items": [RYE | {"quantity": 1}]}
    page.fill("#form104 [name=Name]", "Anna")
    hide(page)
    assert len(api.wait_for("form_start", count=2)) == 2
    assert len(api.of_type("checkout_start")) == 1, "other forms are no checkout"


def test_order_paid_in_cash_is_one_purchase_and_one_form(page: Page, shop: str, api: RealApi) -> None:
    check_out(page, "cash")
    [purchase] = api.wait_for("purchase")
    assert order_of(purchase) == TWO_LOAVES | {"id": "1001"}
    assert purchase["payload"]["form"] == {"id": "form106", "name": "Cart", "tranid": "1:1"}
    [submit] = api.wait_for("form_submit")
    assert submit["payload"]["form"] == purchase["payload"]["form"]
    page.click(".t706__cartwin-close")
    hide(page)
    assert api.of_type("remove_from_cart") == [], "Tilda empties the cart, not the visitor"


def test_order_paid_on_another_page_is_one_purchase(page: Page, shop: str, api: RealApi) -> None:
    check_out(page, "link")
    page.wait_for_url("**/thanks.html")
    page.wait_for_function(READY)
    hide(page)
    [purchase] = api.wait_for("purchase")
    assert order_of(purchase) == TWO_LOAVES | {"id": "1001"}
    assert purchase["payload"]["form"]["tranid"] == "1:1"
    assert len(api.of_type("form_submit")) == 1


@pytest.mark.parametrize("system", ["widget", "cloudpayments"])
def test_payment_in_a_widget_is_one_purchase_and_one_form(page: Page, shop: str, api: RealApi, system: str) -> None:
    check_out(page, system)
    [purchase] = api.wait_for("purchase")
    assert order_of(purchase) == TWO_LOAVES | {"id": "1001"}
    assert purchase["payload"]["form"] == {"id": "form106", "name": "Cart", "tranid": "1:1"}
    page.wait_for_timeout(300)
    hide(page)
    [submit] = api.wait_for("form_submit")
    assert submit["payload"]["form"]["tranid"] == "1:1"
    assert len(api.of_type("purchase")) == 1


def test_order_form_with_its_own_event_name_is_one_purchase(page: Page, shop: str, api: RealApi) -> None:
    page.evaluate("document.querySelector('#form106').setAttribute('data-tilda-event-name', 'order')")
    check_out(page, "widget")
    page.wait_for_timeout(500)
    hide(page)
    [purchase] = api.wait_for("purchase")
    assert order_of(purchase)["id"] == "1001"
    assert purchase["payload"]["form"]["tranid"] == "1:1"


def test_a_button_with_its_own_event_name_is_no_purchase(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/", head="<script>window.Tilda = { sendEventToStatistics() {} };</script>"))
    page.evaluate("Tilda.sendEventToStatistics('flowers', 'Order 17 roses')")
    page.evaluate("Tilda.sendEventToStatistics('/tilda/form1/submitted/', 'Order 1001', '', 9)")  # before the widget
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("signup")
    assert api.of_type("purchase") == []


def test_delivery_is_part_of_the_amount_and_no_product(page: Page, shop: str, api: RealApi) -> None:
    page.evaluate("tcart.delivery = { name: 'By bicycle', price: 3 }")
    page.evaluate("window.t_input_promocode__activate('BREAD', 10)")
    check_out(page, "cash")
    [purchase] = api.wait_for("purchase")
    assert order_of(purchase) == TWO_LOAVES | {"id": "1001", "amount": 11.1, "promocode": "BREAD"}


def test_a_second_order_is_a_second_purchase(page: Page, shop: str, api: RealApi) -> None:
    check_out(page, "cash")
    api.wait_for("purchase")
    page.click(".t706__cartwin-close")
    page.wait_for_load_state()
    page.wait_for_function(READY)
    check_out(page, "widget")
    purchases = api.wait_for("purchase", count=2)
    assert [order_of(one)["id"] for one in purchases] == ["1001", "1002"]
    assert [one["payload"]["form"]["tranid"] for one in purchases] == ["1:1", "1:2"]


def test_a_foreign_data_layer_breaks_nothing(page: Page, site: Site, api: RealApi) -> None:
    head = "<script>window.dataLayer = [null, { event: 'viewProduct' }, ['config', 'G-1']];</script>"
    open_page(page, site.page("/", head=head, options="data-web-vitals"))
    page.wait_for_selector("script[src*='collector.vitals.js']", state="attached")
    page.evaluate("tildaAnalytics.track('signup')")
    api.wait_for("signup")
    assert api.of_type("product_view") == []


def test_amounts_are_read_in_every_notation(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate(
        "texts => texts.forEach((amount, id) => tildaAnalytics.track('product_view', { id, amount }))",
        [*NUMBERS, *NOT_NUMBERS],
    )
    hide(page)
    views = api.wait_for("product_view", count=len(NUMBERS) + len(NOT_NUMBERS))
    found = {order_of(one)["id"]: order_of(one).get("amount") for one in views}
    assert {text: found[number] for number, text in enumerate(NUMBERS)} == NUMBERS
    assert {found[len(NUMBERS) + number] for number in range(len(NOT_NUMBERS))} == {None}


def test_refunds_are_recorded_by_call(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.refund({ id: '1001', amount: '1 990,50', currency: 'EUR' })")
    page.evaluate("tildaAnalytics.track('refund', { id: '1002' })")
    page.evaluate("tildaAnalytics.refund({ amount: 5 })")
    hide(page)
    refunds = api.wait_for("refund", count=2)
    assert sorted((order_of(one) for one in refunds), key=lambda order: order["id"]) == [
        {"id": "1001", "amount": 1990.5, "currency": "EUR"},
        {"id": "1002"},
    ]
    assert api.rejected == [("invalid_payload", "payload.order.id must be the number of the refunded order.")]


def test_a_negative_purchase_is_rejected_with_a_reason(page: Page, site: Site, api: RealApi) -> None:
    open_page(page, site.page("/"))
    page.evaluate("tildaAnalytics.purchase({ id: '1', amount: '-100' }); tildaAnalytics.track('signup')")
    api.wait_for("signup")
    [(code, detail)] = api.rejected
    assert (code, "payload.order.amount" in detail) == ("invalid_payload", True)
