"""`tilda order refund`."""

from __future__ import annotations

import sys
from decimal import Decimal, InvalidOperation

import click

from tilda import console
from warehouse.events.refunds import Order, Refund, record_refund
from warehouse.kit.database import running_database
from warehouse.kit.errors import UserError
from warehouse.kit.settings import load_settings


def _amount(_context: click.Context, _option: click.Parameter, text: str | None) -> Decimal | None:
    """Read --amount: greater than 0, with at most two decimals."""
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0 or amount != round(amount, 2):
        raise click.BadParameter(f"{text} is not an amount such as 1990.50.")
    return amount


@click.group()
def order() -> None:
    """Record what happens to orders outside the website."""


@order.command("refund")
@click.argument("site_id", metavar="SITE")
@click.argument("order_id", metavar="ORDER_ID")
@click.option("--amount", callback=_amount, help="Part of the order to refund; default: all that is left.")
@click.option("--dry-run", is_flag=True, help="Check the refund; record nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def refund(*, site_id: str, order_id: str, amount: Decimal | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Record the refund of an order, which reduces net revenue.

    A refund is an event and cannot be taken back. The command asks for confirmation; without a terminal it needs --yes.
    """
    if not (yes or dry_run or sys.stdin.isatty()):
        raise UserError(
            "A refund needs confirmation, but the input is not a terminal.", "Check it with --dry-run, then add --yes."
        )
    with running_database(load_settings()) as url:
        done = record_refund(url, site_id, order_id, amount, dry_run=True)
        if not dry_run:
            if not (
                yes or click.confirm(f"{_describe(done.order)} Refund {_money(done.amount, done.order)}?", err=True)
            ):
                console.err.print("Nothing was recorded.")
                sys.exit(1)
            done = record_refund(url, site_id, order_id, amount)
    if as_json:
        console.print_json(_as_json(done))
        return
    verb = "would be" if dry_run else "was"
    click.echo(f"{_describe(done.order)} A refund of {_money(done.amount, done.order)} {verb} recorded.")


def _describe(one: Order) -> str:
    return (
        f"Order {one.order_id} of {one.ordered_at:%Y-%m-%d} on {one.site_id}: {_money(one.amount, one)},"
        f" {one.refunded} refunded before."
    )


def _money(amount: Decimal | None, one: Order) -> str:
    return "an unknown amount" if amount is None else f"{amount} {one.currency or ''}".strip()


def _as_json(done: Refund) -> dict[str, object]:
    amount = None if done.amount is None else float(done.amount)
    one = done.order
    return {
        "site_id": one.site_id,
        "order_id": one.order_id,
        "event_id": None if done.is_dry_run else str(done.event_id),
        "amount": amount,
        "currency": one.currency,
        "order_amount": None if one.amount is None else float(one.amount),
        "refunded_before": float(one.refunded),
        "dry_run": done.is_dry_run,
    }


COMMANDS = (order,)
