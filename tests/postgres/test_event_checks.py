"""Validation and the CHECK constraints of public.events agree, and every validated event is stored."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.event_strategies import as_json, events, payloads, sound_events, sound_texts
from tests.postgres.landed import count
from warehouse.events.enrichment import make_refusal, make_row
from warehouse.events.landing import land
from warehouse.events.schema import EVENT_TYPES, Limits, Row
from warehouse.events.validation import BatchError, InvalidEventError, open_envelope, parse_event, parse_events
from warehouse.kit.database import connect

ID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


def accepted_by_validation(event: dict[str, Any]) -> bool:
    try:
        parse_event(as_json({"event_id": ID} | event), Limits())
    except InvalidEventError:
        return False
    return True


def accepted_by_postgres(connection: psycopg.Connection, event: dict[str, Any]) -> bool:
    """Return whether the table accepts an unvalidated event. Errors other than a failed CHECK are raised."""
    payload = event.get("payload")
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(
                """
                insert into public.events (site_id, event_type, user_id, created_at, client_created_at, payload)
                values (
                    'shop', %(event_type)s, %(user_id)s, coalesce(%(created_at)s, now()), %(created_at)s, %(payload)s
                )
                """,
                {"user_id": None, "created_at": None} | event | {"payload": Jsonb({} if payload is None else payload)},
            )
    except errors.CheckViolation:
        return False
    return True


checked = st.fixed_dictionaries(
    {"event_type": st.sampled_from(EVENT_TYPES) | sound_texts, "payload": payloads},
    optional={
        "user_id": sound_texts | st.sampled_from(["u" * 128, "u" * 129, "ы" * 128]),
        "created_at": st.sampled_from(
            [
                "1899-12-31T23:59:59.999999Z",
                "1900-01-01T00:00:00Z",
                "2024-02-29T12:00:00+03:00",
                "2199-12-31T23:59:59.999999Z",
                "2200-01-01T00:00:00Z",
                "2200-01-01T01:00:00+02:00",
            ]
        ),
    },
).filter(lambda event: "\\u0000" not in as_json(event).decode())


def test_validation_and_postgres_agree(database_url: str) -> None:
    verdicts: set[tuple[str, bool]] = set()
    with connect(database_url) as connection:

        @given(checked)
        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        def agree(event: dict[str, Any]) -> None:
            verdict = accepted_by_validation(event)
            assert accepted_by_postgres(connection, event) == verdict
            verdicts.add((event["event_type"], verdict))

        agree()
    assert {verdict for event_type, verdict in verdicts if event_type in EVENT_TYPES} == {True, False}


def test_validation_and_postgres_agree_at_the_bounds_of_each_check(database_url: str) -> None:
    def number(section: str, name: str, *values: object) -> list[dict[str, Any]]:
        return [{section: {name: value}} for value in values]

    odd: list[object] = [None, "1", True, [], {}, -0.0, 1e300, -1e300, 10**30]
    cases = {
        "click": [
            {"click": {"x": x, "y": y}}
            for x in (0, 1.5, 10_000_000, 10_000_000.5, *odd)
            for y in (0, -10_000_000, "1", None)
        ],
        "scroll": number("scroll", "scrollPercent", 0, 100, 50.0, 50.5, -1, 101, 1e-300, 99.99999999999999, *odd),
        "page_leave": number("timing", "timeOnPage", 0, 0.001, 31_536_000, 31_536_000.001, -0.001, *odd),
        "purchase": number("order", "amount", 0, 9.99, 1_000_000_000_000, 1_000_000_000_000.5, -0.01, *odd),
        "refund": [
            {"order": {"id": order_id, "amount": amount}}
            for order_id in ("o-1", "", 1001, *odd)
            for amount in (0, 0.01, 1_000_000_000_000, 1_000_000_000_000.5, -0.01, *odd)
        ],
        "form_submit": [{"form": value} for value in odd],
        "form_start": [{"form": value} for value in odd],
        "form_abandon": [{"form": value} for value in odd],
        "form_error": [{"form": value} for value in odd],
        "identify": [{"identity": value} for value in odd],
    }
    sections = ("click", "scroll", "timing", "order", "form", "identity")
    with connect(database_url) as connection:
        for event_type, special in cases.items():
            general: list[Any] = [None, {}, *({name: value} for name in sections for value in odd)]
            verdicts: set[bool] = set()
            for payload in [*special, *general]:
                event = {"event_type": event_type, "payload": payload}
                verdict = accepted_by_validation(event)
                assert accepted_by_postgres(connection, event) == verdict, event
                verdicts.add(verdict)
            assert verdicts == {True, False}


def test_valid_events_are_stored_and_invalid_events_are_kept_as_rejected(database_url: str) -> None:
    hostile_agent = st.none() | st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace").decode("latin-1"))
    with connect(database_url) as connection:

        @given(
            st.lists(events() | sound_events, min_size=1, max_size=25).map(as_json),
            hostile_agent,
            st.none() | st.text(max_size=20),
        )
        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        def survive(body: bytes, agent: str | None, address: str | None) -> None:
            try:
                opened = open_envelope(body, Limits())
            except BatchError:
                return  # the body is not a batch
            batch = parse_events(opened.events, Limits())
            rows = [
                make_row(e, site_id="shop", source="api", address=address, user_agent=agent, sent_at=opened.sent_at)
                for e in batch.events
            ]
            rows += [make_refusal(rejection, site_id="shop", source="api") for rejection in batch.rejected]
            before = count(connection, "rejected_events")
            msgspec.json.decode(msgspec.json.encode(rows), type=list[Row])
            land(connection, rows)
            # `land` marks the rows that Postgres rejects; no validated row may be marked.
            assert [row.reject_detail for row in rows if row.reject_code == "refused_by_database"] == []
            assert count(connection, "rejected_events") == before + len(batch.rejected)

        survive()
        assert count(connection, "events") > 50
