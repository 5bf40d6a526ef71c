"""Tilda's webhook: both encodings of a payment, the fields that are stored, and the event ID of a repeated call."""

import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from ingest_api.public.tilda_webhook import make_event
from tests.number_cases import NOT_NUMBERS, NUMBERS
from warehouse.events.schema import Limits
from warehouse.events.validation import parse_event

FORM = {
    "Name": "Анна",
    "Email": " Anna@Example.com ",
    "Phone": "+7 (900) 123-45-67",
    "tranid": "1234567:7654321",
    "formid": "form123",
    "tildaspec-formname": "Callback",
    "COOKIES": "_ym=1; analytics_user_id=3f6c0a52-0001; TILDAUTM=x",
}


SECRET = "hook-secret"


def read(fields: dict[str, str]) -> dict[str, Any]:
    return make_event(parse_qsl(urlencode(fields), keep_blank_values=True), "shop", SECRET)


def test_a_form_becomes_a_form_submit_without_field_values():
    event = read(FORM)
    parse_event(json.dumps(event).encode(), Limits())
    assert (event["event_type"], event["user_id"]) == ("form_submit", "3f6c0a52-0001")
    assert event["payload"]["form"] == {
        "id": "form123",
        "name": "Callback",
        "tranid": "1234567:7654321",
        "fields": ["Email", "Name", "Phone"],
    }
    assert event["payload"]["identity"] == {
        "email_sha256": hashlib.sha256(b"anna@example.com").hexdigest(),
        "phone_sha256": hashlib.sha256(b"79001234567").hexdigest(),
    }
    text = json.dumps(event, ensure_ascii=False).lower()
    assert not any(typed in text for typed in ("анна", "anna@", "123-45", "1234567\\"))


def test_without_a_valid_cookie_the_event_has_no_visitor_id():
    assert read({name: value for name, value in FORM.items() if name != "COOKIES"})["user_id"] is None
    assert read(FORM | {"COOKIES": "analytics_user_id=a b"})["user_id"] is None


PRODUCTS = [{"name": "Tea", "quantity": "2", "amount": "700", "price": "350", "sku": "T-1"}]
ORDER = {"id": "order-1", "amount": 1990.5, "currency": "RUB"}
ITEMS = [{"id": "T-1", "sku": "T-1", "name": "Tea", "quantity": 2, "amount": 700, "price": 350}]


@pytest.mark.parametrize(
    "payment",
    [
        {"payment": json.dumps({"orderid": "order-1", "amount": "1990.5", "currency": "RUB", "products": PRODUCTS})},
        {"payment[orderid]": "order-1", "payment[amount]": "1 990,50", "payment[currency]": "RUB"}
        | {f"payment[products][0][{name}]": value for name, value in PRODUCTS[0].items()},
    ],
)
def test_both_encodings_of_a_payment_give_the_same_purchase(payment: dict[str, str]):
    event = read(FORM | payment)
    parse_event(json.dumps(event).encode(), Limits())
    assert event["event_type"] == "purchase"
    assert event["payload"]["order"] == ORDER | {"items": ITEMS}
    assert event["payload"]["form"]["tranid"] == "1234567:7654321"


def test_repeated_calls_have_the_same_event_id():
    assert read(FORM)["event_id"] == read(FORM | {"Name": "другое"})["event_id"]
    assert read(FORM)["event_id"] != read(FORM | {"tranid": "1234567:7654322"})["event_id"]
    fields = list(FORM.items())
    own = make_event(fields, "shop", SECRET)["event_id"]
    assert own != make_event(fields, "other", SECRET)["event_id"]
    assert own != make_event(fields, "shop", "another secret")["event_id"], (
        "without the secret, a stranger could compute the ID"
    )
    without = {name: value for name, value in FORM.items() if name != "tranid"}
    assert read(without)["event_id"] == read(without)["event_id"] != read(without | {"Name": "x"})["event_id"]


# As sent by Tilda; recorded by the owners of public repositories (names shortened).
UNPAID = {
    "sys": "none",
    "systranid": "0",
    "orderid": "1487047237",
    "products": ["Camp 2026=1000"],
    "promocode": "HALF",
    "discountvalue": "50%",
    "discount": "500",
    "subtotal": "1000",
    "amount": "500",
}
PAID = {
    "sys": "tinkoff",
    "systranid": "4471888162",
    "orderid": "2100966246",
    "products": [
        {"name": "Spoon", "quantity": 3, "amount": 6, "price": "2"},
        {"name": "Fork", "quantity": 5, "amount": 5, "price": "1"},
    ],
    "amount": "11",
}


def test_orders_with_and_without_a_payment_system_are_purchases():
    unpaid = read(FORM | {"payment": json.dumps(UNPAID)})
    assert (unpaid["event_type"], unpaid["payload"]["form"]["tranid"]) == ("purchase", "1234567:7654321")
    assert unpaid["payload"]["order"] == {
        "id": "1487047237",
        "amount": 500,
        "promocode": "HALF",
        "items": [{"name": "Camp 2026", "quantity": 1, "amount": 1000, "price": 1000}],
    }
    paid = read(FORM | {"payment": json.dumps(PAID)})
    assert paid["payload"]["order"] == {
        "id": "2100966246",
        "amount": 11,
        "items": [
            {"name": "Spoon", "quantity": 3, "amount": 6, "price": 2},
            {"name": "Fork", "quantity": 5, "amount": 5, "price": 1},
        ],
    }, "Tilda sends no currency and systranid is the payment system's number, not Tilda's"


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("Camp 2026=1000", {"name": "Camp 2026", "quantity": 1, "amount": 1000, "price": 1000}),
        ("Tea (T-1) x 2 ≡ 700", {"name": "Tea (T-1)", "quantity": 2, "amount": 700, "price": 350}),
        ("Necklace (0023) - 1x4390 = 4390", {"name": "Necklace (0023)", "quantity": 1, "amount": 4390, "price": 4390}),
        ("Run (a=b, option) x 1 ≡ 1 790,50", {"name": "Run (a=b, option)", "quantity": 1, "amount": 1790.5,
                                              "price": 1790.5}),
        ("10 km (event=100)", {"name": "10 km (event=100)"}),
        ("Free gift", {"name": "Free gift"}),
        ("Rye &quot;best&quot; loaf=5", {"name": 'Rye "best" loaf', "quantity": 1, "amount": 5, "price": 5}),
    ],
)  # fmt: skip
def test_products_sent_as_text_become_items(text: str, item: dict[str, Any]):
    order = read(FORM | {"payment": json.dumps(UNPAID | {"products": [text, ""]})})["payload"]["order"]
    assert order["items"] == [item]


def test_names_of_products_are_as_on_the_page():
    products = [{"name": "Women&#039;s &quot;X&quot;", "quantity": 1}]
    order = read(FORM | {"payment": json.dumps(PAID | {"products": products})})["payload"]["order"]
    assert order["items"] == [{"name": """Women's "X\"""", "quantity": 1}]


def test_a_transaction_number_0_means_none():
    first = read(FORM | {"tranid": "0", "payment": json.dumps(PAID)})
    assert "tranid" not in first["payload"]["form"]
    other = read(FORM | {"tranid": "0", "payment": json.dumps(PAID | {"orderid": "2100966247"})})
    assert first["event_id"] != other["event_id"], "two orders are two events"
    repeated = read(FORM | {"tranid": "0", "payment": json.dumps(PAID), "Wishes": "quickly"})
    assert repeated["event_id"] == first["event_id"], "the order number identifies the call"
    assert "tranid" not in read(FORM | {"tranid": "1234567:0"})["payload"]["form"]
    without = read(FORM | {"tranid": "0", "payment": json.dumps(PAID | {"orderid": "0"})})
    assert "id" not in without["payload"]["order"]


@pytest.mark.parametrize("text", [*NUMBERS, *NOT_NUMBERS])
def test_amounts_are_read_in_every_notation(text: str):
    order = read(FORM | {"payment": json.dumps({"orderid": "1", "amount": text})})["payload"]["order"]
    assert order.get("amount") == NUMBERS.get(text)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"payment": "{"},
        {"payment": "[" * 5000},
        {"payment": '{"amount": "NaN"}'},
        {"payment": '{"amount": 1e999, "products": {"a": 1}}'},
        {"payment[": "x", "payment[a][b][c][d][e]": "y", "payment[a]": "z", "payment[a][b]": "q"},
        {"tranid": "\u0000", "formid": "\ud7ff" * 5000},
    ],
)
def test_hostile_forms_become_valid_events(fields: dict[str, str]):
    event = read(fields)
    assert event["event_type"] in {"form_submit", "purchase"}
    json.dumps(event, allow_nan=False).encode()
