"""An identifier is hashed exactly as the webhook and the collector hash it, so that the person is found."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml

from ingest_api.public.tilda_webhook import make_event
from warehouse.events.identity import email_sha256, phone_sha256
from warehouse.kit.errors import UserError
from warehouse.kit.installation import shipped
from warehouse.privacy.identifier import Identifier, Kind, contains
from warehouse.privacy.person import MANY_VISITORS


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("typed", ["anna@example.com", "  Anna@Example.COM\t", "ЮЛЯ@пример.рф", "İ@x.example"])
def test_email_addresses_are_hashed_as_the_webhook_hashes_them(typed: str) -> None:
    sent = make_event([("Email", typed), ("tranid", "1:2")], "shop", "hook-secret")["payload"]["identity"]
    assert sent == {"email_sha256": email_sha256(typed)}
    assert ("email_sha256", sent["email_sha256"]) in Identifier.parse("email", typed).identities


def test_email_addresses_are_trimmed_and_lowercased() -> None:
    assert email_sha256(" Anna@Example.COM ") == sha("anna@example.com")


@pytest.mark.parametrize("typed", ["+7 (900) 123-45-67", "8 900 123 45 67", "+44 20 7946 0000"])
def test_phone_numbers_are_hashed_as_the_webhook_hashes_them(typed: str) -> None:
    sent = make_event([("Phone", typed), ("tranid", "1:2")], "shop", "hook-secret")["payload"]["identity"]
    assert sent == {"phone_sha256": phone_sha256(typed)}
    assert ("phone_sha256", sent["phone_sha256"]) in Identifier.parse("phone", typed).identities


def test_a_russian_number_matches_the_prefixes_8_and_7() -> None:
    for typed in ("8 900 123-45-67", "+79001234567"):
        found = {value for _, value in Identifier.parse("phone", typed).identities}
        assert {sha("79001234567"), sha("89001234567")} <= found


def test_numeric_ids_match_text_and_numbers() -> None:
    assert Identifier.parse("external-id", "42").identities == {("external_id", "42"), ("external_id", 42)}
    assert Identifier.parse("external-id", "0042").identities == {("external_id", "0042")}
    assert {"order": {"id": 17}} in Identifier.parse("order", " 17 ").fragments
    assert Identifier.parse("order", "123:456").links == ["order:123:456", "transaction:456"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("email", "anna"), ("email", "a b@c"), ("phone", "ring me"), ("order", " "), ("visitor", "x" * 129)],
)
def test_invalid_identifiers_are_rejected(kind: Kind, text: str) -> None:
    with pytest.raises(UserError, match="cannot be"):
        Identifier.parse(kind, text)


@pytest.mark.parametrize(
    ("value", "fragment", "expected"),
    [
        ({"a": {"b": "c", "d": 1}}, {"a": {"b": "c"}}, True),
        ({"a": {"b": 42}}, {"a": {"b": 42}}, True),
        ({"a": {"b": 425}}, {"a": {"b": 42}}, False),
        ({"a": {"b": True}}, {"a": {"b": 1}}, False),
        ({"a": {"b": "42"}}, {"a": {"b": 42}}, False),
        ({"a": "b"}, {"a": {"b": "c"}}, False),
        (None, {"a": "b"}, False),
    ],
)
def test_contains_agrees_with_jsonb_containment(value: Any, fragment: Any, expected: bool) -> None:
    assert contains(value, fragment) is expected


def test_the_limit_of_visitors_per_identifier_equals_that_of_dbt() -> None:
    project = yaml.safe_load(shipped("dbt_project/dbt_project.yml").read_text())
    assert project["vars"]["identifier_visitor_bound"] == MANY_VISITORS
