"""Orders, refunds and revenue, computed from purchases and refunds.

The rules:

- A purchase is reported by the browser, by a server, by the webhook, or by several of them, each with some of: order
  number, transaction ID, amount, currency, visitor. Each report is a record; records of one order are merged.
- Records of one visitor with a common order number or transaction ID are one order.
- Records of different visitors with a common key are one order if at most 2 hours lie between them and amount and
  currency are equal, or if a webhook confirms both: it has the transaction ID of both, or the order number of both and
  is of the visitor of each.
- A webhook without a visitor whose transaction ID no purchase with its order number has confirms the nearest purchase
  with its order number, of its amount and currency if there is one.
- A record without any key belongs to the order of its session at the same amount within 10 minutes, the nearest in
  time.
- The number of visitors who use an order number does not matter.
- An amount of the webhook goes before one of the browser. A missing currency is that of any other record, else the
  site's.
- A sent form with an order counts as a purchase.
- A refund names an order. One without an amount refunds what is left of the order. A refund never exceeds the order. It
  belongs to the latest order before it, or without one to the next, because a server's clock may be slow.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from tests.dbt.oracle.sessions import Event

SAME_ORDER = timedelta(hours=2)
SAME_SESSION = timedelta(minutes=10)


class Groups:
    """Disjoint sets of the numbers 0 to n - 1."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, item: int) -> int:
        """Return the smallest number of the set of `item`."""
        while self._parent[item] != item:
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Merge the sets of two numbers."""
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low


def orders(events: list[Event], currency: str | None = None) -> pd.DataFrame:
    """Return one row for each order, in order of time.

    Args:
        events: Events of one site with their sessions (`sessionise`).
        currency: The site's currency.

    Columns: order_id, transaction_id, user_id and session_id (of the earliest record with a session), ordered_at,
    amount, currency, record_count, is_confirmed (by a webhook), refunded, net, status (`pending`, `paid`,
    `partially_refunded` or `refunded`).
    """
    records = [_record(event) for event in events if _is_purchase(event)]
    records.sort(key=lambda record: record["order"])
    rows = [_merged(records, group, currency) for group in _group(records)]
    for refund in (_record(event) for event in events if event["event_type"] == "refund"):
        _refund(rows, refund)
    for row in rows:
        row["net"] = None if row["amount"] is None else row["amount"] - row["refunded"]
        is_refunded = row["refunded"] > 0 and row["refunded"] == row["amount"]
        unrefunded = "paid" if row["is_confirmed"] else "pending"
        row["status"] = "refunded" if is_refunded else "partially_refunded" if row["refunded"] else unrefunded
    columns = ["order_id", "transaction_id", "user_id", "session_id", "ordered_at", "amount", "currency"]
    columns += ["record_count", "is_confirmed", "refunded", "net", "status"]
    return pd.DataFrame(rows, columns=pd.Index(columns), dtype=object)


def revenue(table: pd.DataFrame) -> dict[str, Decimal]:
    """Return the net revenue of orders by currency. Amounts of different currencies are never added."""
    known = table.dropna(subset=["net", "currency"])
    return {str(name): sum(group["net"], Decimal(0)) for name, group in known.groupby("currency")}


def _is_purchase(event: Event) -> bool:
    order = (event["payload"] or {}).get("order")
    has_order = isinstance(order, dict) and (order.get("id") or order.get("amount") is not None)
    return event["event_type"] == "purchase" or (event["event_type"] == "form_submit" and bool(has_order))


def _record(event: Event) -> dict[str, Any]:
    payload = event["payload"] or {}
    order = payload.get("order") if isinstance(payload.get("order"), dict) else {}
    form = payload.get("form") if isinstance(payload.get("form"), dict) else {}
    amount = order.get("amount")
    transaction = str(form.get("tranid") or "").rpartition(":")[2]
    return {
        "order_id": order.get("id") or None,
        # Tilda writes "0" where it has no transaction
        "transaction_id": transaction if transaction not in ("", "0") else None,
        "amount": None if amount is None else Decimal(str(amount)),
        "currency": (order.get("currency") or "").upper() or None,
        "visitor": event["user_id"],
        "user_id": event["user"],
        "session_id": event["session"],
        "is_webhook": event["source"] == "webhook",
        "event_id": event["event_id"],
        "at": event["at"],
        "order": event["order"],
    }


def _group(records: list[dict[str, Any]]) -> list[list[int]]:
    groups = Groups(len(records))
    pairs = [(one, other) for other in range(len(records)) for one in range(other)]
    for one, other in pairs:
        if _are_one_order(records[one], records[other]):
            groups.join(one, other)
    _join_confirmed(records, groups)
    _join_without_key(records, groups)
    members: dict[int, list[int]] = {}
    for number in range(len(records)):
        members.setdefault(groups.find(number), []).append(number)
    return list(members.values())


def _have_common_key(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return any(one[key] is not None and one[key] == other[key] for key in ("order_id", "transaction_id"))


def _have_same_money(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["amount"] is not None and (one["amount"], one["currency"]) == (other["amount"], other["currency"])


def _are_one_order(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if not _have_common_key(one, other):
        return False
    if one["visitor"] is not None and one["visitor"] == other["visitor"]:
        return True
    has_webhook = one["is_webhook"] or other["is_webhook"]
    if has_webhook and one["transaction_id"] is not None and one["transaction_id"] == other["transaction_id"]:
        return True
    is_near = abs(one["at"] - other["at"]) <= SAME_ORDER and _have_same_money(one, other)
    return is_near and one["is_webhook"] == other["is_webhook"]


def _join_confirmed(records: list[dict[str, Any]], groups: Groups) -> None:
    """Join each webhook that has only an order number and no visitor with the one order that it confirms."""
    for number, record in enumerate(records):
        if not record["is_webhook"] or record["visitor"] is not None or record["order_id"] is None:
            continue
        if any(
            not other["is_webhook"]
            and other["order_id"] == record["order_id"]
            and record["transaction_id"] is not None
            and other["transaction_id"] == record["transaction_id"]
            for other in records
        ):
            continue
        _join_nearest(
            records,
            groups,
            number,
            lambda other, record=record: not other["is_webhook"] and other["order_id"] == record["order_id"],
        )


def _join_without_key(records: list[dict[str, Any]], groups: Groups) -> None:
    """Join each record without a key with the order of its session at the same amount."""
    for number, record in enumerate(records):
        if record["order_id"] is None and record["transaction_id"] is None and record["session_id"] is not None:
            _join_nearest(
                records,
                groups,
                number,
                lambda other, record=record: (
                    other["session_id"] == record["session_id"]
                    and abs(other["at"] - record["at"]) <= SAME_SESSION
                    and record["amount"] is not None
                    and other["amount"] == record["amount"]
                    and (None in (other["currency"], record["currency"]) or other["currency"] == record["currency"])
                ),
            )


def _join_nearest(
    records: list[dict[str, Any]], groups: Groups, number: int, fits: Callable[[dict[str, Any]], bool]
) -> None:
    """Join a record with the nearest of the fitting records, of which those with equal money come first."""
    record = records[number]
    fitting = [other for other in range(len(records)) if other != number and fits(records[other])]
    nearest = min(
        fitting,
        key=lambda other: (
            not _have_same_money(records[other], record),
            abs(records[other]["at"] - record["at"]),
            records[other]["order"],
        ),
        default=None,
    )
    if nearest is not None:
        groups.join(number, nearest)


def _merged(records: list[dict[str, Any]], group: list[int], currency: str | None) -> dict[str, Any]:
    found = [records[number] for number in group]
    by_money = sorted(found, key=lambda record: (record["amount"] is None, not record["is_webhook"], record["order"]))
    by_visitor = sorted(
        found, key=lambda record: (record["session_id"] is None, record["visitor"] is None, record["order"])
    )
    currencies = [record["currency"] for record in by_money if record["currency"]]
    return {
        "order_id": min((record["order_id"] for record in found if record["order_id"]), default=None),
        "transaction_id": min((record["transaction_id"] for record in found if record["transaction_id"]), default=None),
        "user_id": by_visitor[0]["user_id"],
        "session_id": by_visitor[0]["session_id"],
        "ordered_at": found[0]["at"],
        "amount": by_money[0]["amount"],
        "currency": currencies[0] if currencies else currency,
        "record_count": len(found),
        "is_confirmed": any(record["is_webhook"] for record in found),
        "refunded": Decimal(0),
        "order_key": found[0]["event_id"],
        "keys": {record[key] for record in found for key in ("order_id", "transaction_id") if record[key]},
        "visitors": {record["visitor"] for record in found if record["visitor"]},
    }


def _refund(rows: list[dict[str, Any]], refund: dict[str, Any]) -> None:
    """Add a refund to its order: one of the same visitor if there is one, of these the latest before the refund."""
    named = {refund["order_id"], refund["transaction_id"]} - {None}
    fitting = [row for row in rows if row["keys"] & named and row["amount"] is not None]
    if not fitting:
        return
    row = min(
        fitting,
        key=lambda row: (
            row["ordered_at"] > refund["at"],
            refund["visitor"] not in row["visitors"],
            abs(row["ordered_at"] - refund["at"]),
            str(row["order_key"]),
        ),
    )
    left = row["amount"] - row["refunded"]
    row["refunded"] += left if refund["amount"] is None else min(left, refund["amount"])
