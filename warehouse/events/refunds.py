"""Records refunds of orders as events of type `refund`.

Refunds reduce net revenue. Tilda reports no refunds, so a person or a shop's back office records them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from warehouse.events.enrichment import make_row
from warehouse.events.landing import LAND, land_or_raise
from warehouse.events.schema import Limits
from warehouse.events.validation import InvalidEventError, parse_event
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.queries import read_query
from warehouse.sites.registry import find_site

SOURCE = "cli"

_ORDER_EVENTS = read_query(Path(__file__).parent / "sql", "order_events")


@dataclass(frozen=True)
class Order:
    """An order, from its purchase and refund events.

    Attributes:
        site_id: The site.
        order_id: The shop's order number.
        ordered_at: `created_at` of the first purchase event.
        amount: Total; None if no purchase event has an amount.
        currency: ISO 4217; None if no purchase event has a currency.
        refunded: Sum of the refunds with an amount.
        is_fully_refunded: True if nothing is left to refund.
        user_id: The visitor's ID; None if no purchase event has one.
    """

    site_id: str
    order_id: str
    ordered_at: datetime
    amount: Decimal | None
    currency: str | None
    refunded: Decimal
    is_fully_refunded: bool
    user_id: str | None

    @property
    def left(self) -> Decimal | None:
        """Return the amount that can be refunded; None if the order's amount is unknown."""
        return None if self.amount is None else self.amount - self.refunded


@dataclass(frozen=True)
class Refund:
    """A recorded refund, or with `is_dry_run` one that would be recorded.

    Attributes:
        order: The order as it was before the refund.
        event_id: ID of the refund event.
        amount: Amount of the refund in the order's currency; None if the complete order is refunded and its amount
            is unknown.
    """

    order: Order
    event_id: UUID
    amount: Decimal | None
    is_dry_run: bool


def find_order(connection: psycopg.Connection, site_id: str, order_id: str) -> Order:
    """Find an order among the live and archived events of a site.

    Raises:
        UserError: The site does not exist, or no purchase event has this order number.
    """
    find_site(connection, site_id)
    numbers: list[str | int] = [order_id, int(order_id)] if order_id.isdecimal() and order_id.isascii() else [order_id]
    rows = connection.execute(
        _ORDER_EVENTS, {"site": site_id, "fragments": [Jsonb({"order": {"id": number}}) for number in numbers]}
    ).fetchall()
    purchases = [row for row in rows if row[0] == "purchase"]
    refunds = [row for row in rows if row[0] == "refund"]
    if not purchases:
        raise UserError(
            f"{site_id} has no order {order_id}.",
            "Check the number and the site. Bring months older than a year back with `tilda restore YYYY-MM`.",
        )
    amount = next((row[3] for row in purchases if row[3] is not None), None)
    refunded = sum((row[3] for row in refunds if row[3] is not None), Decimal(0))
    return Order(
        site_id=site_id,
        order_id=order_id,
        ordered_at=min(row[1] for row in purchases),
        amount=amount,
        currency=next((row[4] for row in purchases if row[4] is not None), None),
        refunded=refunded,
        is_fully_refunded=any(row[3] is None for row in refunds) or (amount is not None and refunded >= amount),
        user_id=next((row[2] for row in purchases if row[2] is not None), None),
    )


def record_refund(
    url: str, site_id: str, order_id: str, amount: Decimal | None = None, *, dry_run: bool = False
) -> Refund:
    """Record the refund of an order, or of a part of it.

    Args:
        url: The database address with the owner's login.
        site_id: The order's site.
        order_id: The shop's order number.
        amount: Amount in the order's currency; None for all that is left.
        dry_run: True to check the refund without recording it.

    Raises:
        UserError: The site or the order does not exist, nothing or less than `amount` is left to refund, or the amount
            is not positive.
    """
    with connect(url, application="tilda order refund") as connection, connection.transaction():
        # One refund of an order at a time: two commands that do not see each other would refund too much.
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"refund\n{site_id}\n{order_id}"])
        order = find_order(connection, site_id, order_id)
        _check(order, amount)
        # Without an amount, the event refunds the complete order, whatever amount the models take for it.
        stated = order.left if amount is None and order.refunded else amount
        refund = Refund(order, uuid4(), stated if stated is not None else order.left, dry_run)
        if not dry_run:
            _land(connection, refund, stated)
    return refund


def _check(order: Order, amount: Decimal | None) -> None:
    if order.is_fully_refunded:
        raise UserError(f"The order {order.order_id} is refunded already.", "There is nothing left to refund.")
    if amount is None:
        return
    if amount <= 0:
        raise UserError(f"{amount} cannot be refunded.", "Give an amount greater than 0.")
    if order.left is not None and amount > order.left:
        raise UserError(
            f"Only {order.left} of the order {order.order_id} is left to refund, not {amount}.",
            "Give a smaller --amount, or none to refund all that is left.",
        )


def _land(connection: psycopg.Connection, refund: Refund, amount: Decimal | None) -> None:
    order = refund.order
    details = {"id": order.order_id, "amount": None if amount is None else float(amount), "currency": order.currency}
    event = {
        "event_id": str(refund.event_id),
        "event_type": "refund",
        "created_at": datetime.now(UTC).isoformat(),
        "user_id": order.user_id,
        "payload": {"order": {name: value for name, value in details.items() if value is not None}},
    }
    try:
        parsed = parse_event(msgspec.json.encode(event), Limits())
    except InvalidEventError as error:
        raise UserError(f"The refund is not valid: {error.detail}", "Give another amount.") from error
    row = make_row(parsed, site_id=order.site_id, source=SOURCE, address=None, user_agent=None)
    land_or_raise(connection, [row], LAND)
