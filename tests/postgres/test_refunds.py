"""`tilda order refund`: a refund is recorded once as an event, never for more than the order."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from psycopg import errors

from tests.postgres.landed import event, now
from tilda.cli import cli
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.migrations import migrate
from warehouse.sites.registry import add_site


@pytest.fixture(autouse=True)
def url(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for site_id in ("shop", "blog"):
        add_site(database_url, site_id, [f"{site_id}.example"], "UTC")
    return database_url


def tilda(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def refunded(*arguments: str) -> dict[str, Any]:
    result = tilda("order", "refund", *arguments, "--yes", "--json")
    assert result.exception is None, result.exception
    return json.loads(result.output)


def refused(*arguments: str) -> str:
    result = tilda("order", "refund", *arguments)
    assert isinstance(result.exception, UserError), (result.exception, result.output)
    return str(result.exception)


def order(url: str, order_id: object = "1001", **more: Any) -> None:
    """Store the purchase as the browser and the webhook report it."""
    with connect(url) as connection:
        land(
            connection,
            [
                event(
                    event_type="purchase",
                    user_id="ann",
                    at=now() - timedelta(days=2),
                    payload={"order": {"id": order_id, "amount": 5000, "currency": "EUR"}},
                ),
                event(
                    event_type="purchase",
                    source="webhook",
                    at=now() - timedelta(days=2),
                    payload={"order": {"id": order_id, "amount": 1990.5}},
                ),
            ],
        )


def events(url: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(
            "select source, user_id, session_id, payload from public.events where event_type = 'refund' order by id"
        ).fetchall()


def test_a_refund_of_the_complete_order_is_an_event_without_an_amount(url: str) -> None:
    order(url)
    done = refunded("shop", "1001")
    assert done | {"event_id": None} == {
        "site_id": "shop",
        "order_id": "1001",
        "event_id": None,
        "amount": 1990.5,  # of the webhook
        "currency": "EUR",
        "order_amount": 1990.5,
        "refunded_before": 0,
        "dry_run": False,
    }
    assert events(url) == [("cli", "ann", None, {"order": {"id": "1001", "currency": "EUR"}})]
    assert "refunded already" in refused("shop", "1001", "--yes")
    assert len(events(url)) == 1


def test_refunds_of_parts_never_exceed_the_order(url: str) -> None:
    order(url, 1001)  # the site sends its numbers as numbers
    refunded("shop", "1001", "--amount", "1000")
    assert "Only 990.5 of the order 1001 is left" in refused("shop", "1001", "--amount", "990.51", "--yes")
    assert refunded("shop", "1001")["amount"] == 990.5
    assert [payload["order"].get("amount") for *_, payload in events(url)] == [1000, 990.5]
    assert "refunded already" in refused("shop", "1001", "--amount", "1", "--yes")


def test_a_dry_run_and_a_missing_confirmation_record_nothing(url: str) -> None:
    order(url)
    result = tilda("order", "refund", "shop", "1001", "--amount", "500", "--dry-run")
    assert "1990.5 EUR" in result.output
    assert "A refund of 500 EUR would be recorded." in result.output
    assert "needs confirmation" in refused("shop", "1001")
    assert events(url) == []


def test_an_upgrade_keeps_custom_events_that_were_named_refund(old_database_url: str) -> None:
    insert = (
        "insert into public.events (site_id, event_type, created_at, payload) values ('shop', 'refund', now(), '{}')"
    )
    with connect(old_database_url) as owner:
        owner.execute(insert)
        migrate(old_database_url)
        assert owner.execute("select count(*) from public.events where event_type = 'refund'").fetchone() == (1,)
        validated = owner.execute(
            "select distinct convalidated from pg_constraint where conname = 'events_refund_names_an_order'"
        ).fetchall()
        assert validated == [(False,)], "a month can move between tables only if their constraints are alike"
        with pytest.raises(errors.CheckViolation):
            owner.execute(insert)


def test_unknown_orders_sites_and_amounts_are_refused(url: str) -> None:
    order(url)
    assert "shop has no order 1002" in refused("shop", "1002", "--yes")
    assert "blog has no order 1001" in refused("blog", "1001", "--yes"), "orders belong to a site"
    assert "no site" in refused("nowhere", "1001", "--yes").lower()
    for amount in ("0", "-5", "much", "NaN", "1.001"):
        result = tilda("order", "refund", "shop", "1001", f"--amount={amount}", "--yes")
        assert result.exit_code != 0, amount
    assert events(url) == []
