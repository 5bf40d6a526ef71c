"""Events of hand-made cases of the rules of meaning, each on a site of its own (`site_of`).

The expectations are in `test_rules.py`. Times are minutes after `BEGIN`, a Friday noon in Moscow, the sites' time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

SPACE = UUID("f3b3ff0e-7e85-4b1f-9d55-0f8f4b8f2a33")
BEGIN = datetime(2026, 10, 9, 9, 0, tzinfo=UTC)
HOUR, DAY = 60, 24 * 60

Event = dict[str, Any]
Case = Iterable[Event]


def _event(event_type: str, at: float, user: str | None = None, tab: str | None = None, **values: Any) -> Event:
    """Return an event without the columns that depend on its case.

    Args:
        event_type: Its type.
        at: Minutes after `BEGIN`.
        user: The visitor.
        tab: Name of the client session.
        values: Further columns; `order`, `form` and `identity` become sections of the payload.
    """
    payload = {name: values.pop(name) for name in ("order", "form", "identity") if name in values}
    return {
        "event_type": event_type,
        "user_id": user,
        "session_id": tab,
        "at": BEGIN + timedelta(minutes=at),
        "payload": payload,
        "source": "api",
        **values,
    }


def _view(at: float, user: str | None, tab: str | None, referrer: str | None = None, **values: Any) -> Event:
    return _event("page_view", at, user, tab, referrer_host=referrer, **values)


def _order(number: str | None, amount: float, currency: str | None = "RUB") -> dict[str, Any]:
    values = {"id": number, "amount": amount, "currency": currency}
    return {name: value for name, value in values.items() if value is not None}


def _new_tab() -> Case:
    yield _view(0, "ann", "first", "google.com")
    yield _view(1, "ann", "second", "shop.ru", page_path="/product")
    yield _event("add_to_cart", 3, "ann", "second")
    yield _event("purchase", 4, "ann", "second", order=_order("n1", 500))


def _new_tab_of_a_new_tab() -> Case:
    yield _view(0, "ann", "first", "vk.com")
    yield _view(20, "ann", "second", "shop.ru")
    yield _view(45, "ann", "third", "shop.ru")


def _late_or_unrelated_tabs() -> Case:
    yield _view(0, "ann", "first", "google.com")
    yield _view(31, "ann", "late", "shop.ru")
    yield _view(40, "ann", "typed")
    yield _view(41, "ann", "campaign", "shop.ru", utm_source="news", utm_medium="email")
    yield _view(42, "ann", "other source", "vk.com")
    yield _view(43, "bob", "of bob", "shop.ru")


def _campaign_of_a_later_event() -> Case:
    yield _view(0, "ann", "tab", utm_source="a", utm_medium="cpc")
    yield _event("add_to_cart", 1, "ann", "tab", utm_source="b", utm_medium="cpc")
    yield _view(2, "ann", "tab", "shop.ru")
    yield _event("add_to_cart", 3, "ann", "tab", utm_source="a", utm_medium="cpc")
    yield _view(4, "ann", "tab", utm_source="b", utm_medium="cpc")


def _repeated_order_number() -> Case:
    yield _view(0, "ann", "ann")
    yield _event("purchase", 1, "ann", "ann", order=_order("1", 100))
    yield _view(3 * DAY, "bob", "bob")
    yield _event("purchase", 3 * DAY + 1, "bob", "bob", order=_order("1", 900))


def _repeated_order_number_with_webhooks() -> Case:
    yield from _repeated_order_number()
    yield _event("purchase", 2, source="webhook", order=_order("1", 100), form={"tranid": "11"})
    yield _event("purchase", 3 * DAY + 2, source="webhook", order=_order("1", 900), form={"tranid": "12"})


def _order_seen_on_two_devices() -> Case:
    yield _view(0, "ann", "computer")
    yield _event("purchase", 1, "ann", "computer", order=_order("1", 100))
    yield _view(90, "ann's phone", "phone")
    yield _event("purchase", 91, "ann's phone", "phone", order=_order("1", 100))


def _order_confirmed_on_two_devices() -> Case:
    yield _view(0, "ann", "computer")
    yield _event("purchase", 1, "ann", "computer", order=_order("1", 100), form={"tranid": "7:11"})
    yield _view(DAY, "ann's phone", "phone")
    yield _event("purchase", DAY + 1, "ann's phone", "phone", order=_order("1", 100), form={"tranid": "7:11"})
    yield _event("purchase", 2, source="webhook", order=_order("1", 100), form={"tranid": "11"})


def _order_number_of_many_visitors(count: int) -> Callable[[], Case]:
    def events() -> Case:
        for number in range(count):
            yield _event("purchase", number * DAY, f"visitor {number}", f"tab {number}", order=_order("1", 10 + number))

    return events


def _number_known_to_the_webhook_only() -> Case:
    yield _view(0, "ann", "ann", "vk.com")
    yield _event("purchase", 1, "ann", "ann", order=_order(None, 700))
    yield _event("purchase", 3, "ann", source="webhook", order=_order("55", 700), form={"tranid": "12"})


def _two_orders_without_number() -> Case:
    yield _view(0, "ann", "ann", "vk.com")
    yield _event("purchase", 1, "ann", "ann", order=_order(None, 700))
    yield _event("purchase", 2, "ann", "ann", order=_order(None, 800))
    yield _event("purchase", 20, "ann", "ann", order=_order(None, 700))


def _tilda_order() -> Case:
    yield _view(0, "ann", "ann", "vk.com")
    yield _event("form_submit", 1, "ann", "ann", form={"id": "cart", "tranid": "9:77"})
    yield _event("purchase", 1, "ann", "ann", order=_order("n7", 300, "EUR"), form={"id": "cart", "tranid": "9:77"})
    yield _event("purchase", 2, "ann", source="webhook", order=_order("n7", 300, None), form={"tranid": "77"})
    yield _view(10, "ann", "ann")
    yield _event("form_submit", 11, "ann", "ann", form={"id": "question", "tranid": "9:78"})


def _two_accounts_on_one_computer() -> Case:
    yield _view(0, "computer", "before")
    yield _event("identify", 1, "computer", "before", identity={"external_id": "1"})
    yield _view(DAY, "computer", "after")
    yield _event("identify", DAY + 1, "computer", "after", identity={"external_id": "2"})
    yield _view(2 * DAY, "computer", "later")
    yield _event("identify", 3 * DAY, "phone of 1", "one", identity={"external_id": "1"})
    yield _event("identify", 3 * DAY, "phone of 2", "two", identity={"external_id": "2"})


def _kiosk() -> Case:
    for number in range(4):
        address = {"email_sha256": f"address {number}"}
        yield _event("form_submit", number * DAY, "kiosk", f"kiosk {number}", form={"id": "f"}, identity=address)
        phone = f"phone {number}"
        yield _event("form_submit", number * DAY + HOUR, phone, phone, form={"id": "f"}, identity=address)


def _address_of_two_accounts() -> Case:
    address = {"email_sha256": "family"}
    yield _event("identify", 0, "a", "a", identity={"external_id": "1"} | address)
    yield _event("identify", 1, "b", "b", identity={"external_id": "2"} | address)
    yield _event("form_submit", 2, "c", "c", form={"id": "f"}, identity=address)


def _server_side_purchase() -> Case:
    yield _view(0, "ann", "ann", "vk.com")
    yield _event("purchase", 5 * HOUR, "ann", order=_order("s1", 400))
    yield _event("purchase", 6 * HOUR, "stranger", order=_order("s2", 50))


def _currencies() -> Case:
    yield _view(0, "ann", "ann")
    yield _event("purchase", 1, "ann", "ann", order=_order("r", 100, "RUB"))
    yield _event("purchase", 2, "ann", "ann", order=_order("u", 100, "USD"))


def _webhook_only() -> Case:
    yield _view(0, "ann", "ann")
    yield _event("purchase", 5, source="webhook", order=_order("w", 700), form={"tranid": "5"})


def _without_id() -> Case:
    yield _view(0, None, None)
    yield _view(1, None, None)
    yield _view(2, "ann", "ann")


def _over_midnight() -> Case:
    yield _view(11 * HOUR + 50, "ann", "ann")  # 23:50 in Moscow
    yield _view(12 * HOUR + 10, "ann", "ann")


def _refunds() -> Case:
    for number, name in enumerate(("partly", "wholly", "twice", "not")):
        yield _view(number, "ann", "ann")
        yield _event("purchase", number, "ann", "ann", order=_order(name, 1000))
    yield _event("refund", DAY, order={"id": "partly", "amount": 300})
    yield _event("refund", DAY, order={"id": "wholly"}, source="webhook")
    yield _event("refund", DAY, order={"id": "twice", "amount": 600})
    yield _event("refund", 2 * DAY, order={"id": "twice", "amount": 600})
    yield _event("refund", 2 * DAY, order={"id": "of no order", "amount": 1})


CASES: dict[str, Callable[[], Case]] = {
    "new tab": _new_tab,
    "new tab of a new tab": _new_tab_of_a_new_tab,
    "late or unrelated tabs": _late_or_unrelated_tabs,
    "campaign of a later event": _campaign_of_a_later_event,
    "repeated order number": _repeated_order_number,
    "repeated order number with webhooks": _repeated_order_number_with_webhooks,
    "order seen on two devices": _order_seen_on_two_devices,
    "order confirmed on two devices": _order_confirmed_on_two_devices,
    "order number of 25": _order_number_of_many_visitors(25),
    "order number of 26": _order_number_of_many_visitors(26),
    "number known to the webhook only": _number_known_to_the_webhook_only,
    "two orders without number": _two_orders_without_number,
    "tilda order": _tilda_order,
    "two accounts on one computer": _two_accounts_on_one_computer,
    "kiosk": _kiosk,
    "address of two accounts": _address_of_two_accounts,
    "server-side purchase": _server_side_purchase,
    "currencies": _currencies,
    "webhook only": _webhook_only,
    "without id": _without_id,
    "over midnight": _over_midnight,
    "refunds": _refunds,
}


def site_of(case: str) -> str:
    """Return the ID of a case's site."""
    return f"case-{case.replace(' ', '-')}"


CASE_SITES: dict[str, tuple[str, list[str]]] = {site_of(case): ("Europe/Moscow", ["shop.ru"]) for case in CASES}


def tab_names(case: str) -> dict[UUID, str]:
    """Return the names of a case's tabs by client session ID."""
    names = {event["session_id"] for event in CASES[case]() if event["session_id"]}
    return {uuid5(SPACE, f"{site_of(case)} {name}"): name for name in names}


def case_rows() -> list[Event]:
    """Return the events of all cases as rows of public.events."""
    return [row for name in CASES for row in rows_of_case(name)]


def rows_of_case(name: str) -> list[Event]:
    """Return the events of a case as rows of public.events."""
    site = site_of(name)
    rows: list[Event] = []
    for number, event in enumerate(CASES[name]()):
        row = {name: value for name, value in event.items() if name != "at"}
        if row["session_id"]:
            row["session_id"] = uuid5(SPACE, f"{site} {row['session_id']}")
        rows.append(
            {
                "page_path": "/",
                "page_host": "shop.ru",
                "referrer_host": None,
                **dict.fromkeys(("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_ids")),
            }
            | row
            | {
                "event_id": uuid5(SPACE, f"{site} event {number}"),
                "site_id": site,
                "is_bot": False,
                "created_at": event["at"],
                "client_created_at": event["at"],
                "sent_at": event["at"],
                "received_at": event["at"] + timedelta(seconds=1),
            }
        )
    return rows
