"""Expected results of the cases in `rule_cases.py`, written by hand from the rules."""

from __future__ import annotations

from typing import NamedTuple


class Session(NamedTuple):
    """A session by the name of its tab."""

    tab: str
    channel: str


class Order(NamedTuple):
    """An order; `refunded` is the amount that was paid back."""

    order_id: str | None
    amount: int
    currency: str
    is_confirmed: bool
    channel: str
    refunded: int = 0
    status: str = "pending"


# Sessions in order of time, and the number of visits.
SESSIONS: dict[str, tuple[list[Session], int]] = {
    # "visitor comes from Google, opens the product in a new tab (own referrer), buys there": the new tab is a session
    # that inherits the source; without tab splits it is one visit.
    "new tab": ([Session("first", "Organic Search"), Session("second", "Organic Search")], 1),
    # A new tab inherits what its own opener inherited; each begins within 30 minutes of activity.
    "new tab of a new tab": (
        [Session("first", "Organic Social"), Session("second", "Organic Social"), Session("third", "Organic Social")],
        1,
    ),
    # After 30 minutes, without an internal referrer, with a source of its own, or of another visitor: not inherited.
    # Visits of ann: 0, 31 (with 40), 41, 42; of bob: 43.
    "late or unrelated tabs": (
        [
            Session("first", "Organic Search"),
            Session("late", "Direct"),
            Session("typed", "Direct"),
            Session("campaign", "Email"),
            Session("other source", "Organic Social"),
            Session("of bob", "Direct"),
        ],
        5,
    ),
    # "only page views start a campaign session": another event with another campaign does not, a page view does.
    "campaign of a later event": ([Session("tab", "Paid Other"), Session("", "Paid Other")], 2),
    # "server-side purchase with user_id, no session": it makes no session.
    "server-side purchase": ([Session("ann", "Organic Social")], 1),
    "over midnight": ([Session("ann", "Direct")], 1),
}

# Orders in order of time.
ORDERS: dict[str, list[Order]] = {
    # The sale in the new tab has the source of the visit.
    "new tab": [Order("n1", 500, "RUB", False, "Organic Search")],
    # "two visitors, order 1 for 100 today and order 1 for 900 three days later": records of different visitors merge
    # only when a webhook confirms them, or within 2 hours at the same amount and currency.
    "repeated order number": [
        Order("1", 100, "RUB", False, "Direct"),
        Order("1", 900, "RUB", False, "Direct"),
    ],
    "repeated order number with webhooks": [
        Order("1", 100, "RUB", True, "Direct", status="paid"),
        Order("1", 900, "RUB", True, "Direct", status="paid"),
    ],
    "order seen on two devices": [Order("1", 100, "RUB", False, "Direct")],
    "order confirmed on two devices": [Order("1", 100, "RUB", True, "Direct", status="paid")],
    # "the result must not change when a 26th visitor shares an identifier"
    "order number of 25": [Order("1", 10 + number, "RUB", False, "Direct") for number in range(25)],
    "order number of 26": [Order("1", 10 + number, "RUB", False, "Direct") for number in range(26)],
    # "browser purchase without number, webhook with number and tranid": union of keys, else the same session within
    # 10 minutes at the same amount.
    "number known to the webhook only": [Order("55", 700, "RUB", True, "Organic Social", status="paid")],
    "two orders without number": [
        Order(None, 700, "RUB", False, "Organic Social"),
        Order(None, 800, "RUB", False, "Organic Social"),
        Order(None, 700, "RUB", False, "Organic Social"),
    ],
    # "an ordinary Tilda order": one purchase, with the currency of any of its records.
    "tilda order": [Order("n7", 300, "EUR", True, "Organic Social", status="paid")],
    # "server-side purchase with user_id, no session": of the visitor's latest session, else Unassigned, never Direct.
    "server-side purchase": [
        Order("s1", 400, "RUB", False, "Organic Social"),
        Order("s2", 50, "RUB", False, "Unassigned"),
    ],
    # "RUB 100 + USD 100"
    "currencies": [Order("r", 100, "RUB", False, "Direct"), Order("u", 100, "USD", False, "Direct")],
    # "sale known only from the webhook"
    "webhook only": [Order("w", 700, "RUB", True, "Unassigned", status="paid")],
    # "refunds": full or partial, by order ID, from API and webhook; never more than the order.
    "refunds": [
        Order("partly", 1000, "RUB", False, "Direct", refunded=300, status="partially_refunded"),
        Order("wholly", 1000, "RUB", False, "Direct", refunded=1000, status="refunded"),
        Order("twice", 1000, "RUB", False, "Direct", refunded=1000, status="refunded"),
        Order("not", 1000, "RUB", False, "Direct"),
    ],
}

# Conversions of the goal `lead` (sent forms). "An ordinary Tilda order | purchase and lead": the form that places the
# order is no lead unless a goal says so; the question that follows is one.
LEADS = {"tilda order": 1, "kiosk": 8}

# Tabs of one person, grouped.
PERSONS: dict[str, list[set[str]]] = {
    # "two different account ids on one PC": conflicting external IDs never merge; a shared device belongs to the
    # account active at the time. The visits before an account is known belong to the first.
    "two accounts on one computer": [{"before", "one"}, {"after", "later", "two"}],
    # "one kiosk cannot join its customers"
    "kiosk": [{f"kiosk {number}", f"phone {number}"} for number in range(4)],
    # An address that was given with two accounts joins nobody.
    "address of two accounts": [{"a"}, {"b"}, {"c"}],
}
