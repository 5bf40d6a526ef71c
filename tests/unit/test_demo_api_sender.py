"""The sender delivers the simulated shop's recent events through the HTTP API in batches like those of browsers."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from demo.api_sender import BATCH_EVENTS, CRITICAL, Sender, SendResult
from demo.simulation.simulation import Simulation
from tests.batches import read_batch
from warehouse.events.user_agents import parse_user_agent
from warehouse.kit.errors import UserError

NOW = datetime(2026, 11, 5, 9, 30, tzinfo=UTC)
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def recent() -> list[dict[str, Any]]:
    simulation = Simulation(3_000, 15, 7, timezone="Europe/Berlin", domain="shop.example", end=NOW)
    return [e for e in simulation.events() if datetime.fromisoformat(e["received_at"]) >= NOW - timedelta(hours=48)]


def accept(request: httpx.Request) -> httpx.Response:
    batch = read_batch(request.content)
    rejected = [{"index": r.index, "event_id": r.event_id, "code": r.code, "detail": r.detail} for r in batch.rejected]
    return httpx.Response(202, json={"accepted": len(batch.events), "duplicates": 0, "rejected": rejected})


def sender(answer: Answer) -> Sender:
    transport = httpx.MockTransport(answer)
    return Sender("http://api.example", "pk_shop", "sk_secret", clock=lambda: NOW, transport=transport)


def corrected_time(created: datetime, sent: datetime, received: datetime) -> datetime:
    """Return the corrected time of an event, by the rule of the dbt models: a clock error over 60 s is removed."""
    skew = received - sent
    return min(received, created + (skew if abs(skew) > timedelta(seconds=60) else timedelta()))


def test_every_event_is_sent_once_in_a_batch_of_one_browser(recent: list[dict[str, Any]]) -> None:
    requests: list[httpx.Request] = []
    progress: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return accept(request)

    delivery = sender(answer).send(recent, lambda so_far: progress.append(so_far.events))
    assert delivery == SendResult(accepted=len(recent), requests=len(requests))
    assert progress[-1] == len(recent)
    agent_of = {event["session_id"]: event["user_agent"] for event in recent}
    ids: list[str] = []
    for request in requests:
        assert request.url.path == "/api/events"
        assert request.url.params["key"] == "pk_shop"
        assert request.headers["authorization"] == "Bearer sk_secret"
        assert request.headers["origin"] == "https://shop.example"
        batch = json.loads(request.content)["events"]
        assert 1 <= len(batch) <= BATCH_EVENTS
        assert {agent_of[event["session_id"]] for event in batch} == {request.headers["user-agent"]}
        assert not any(event["event_type"] in CRITICAL for event in batch[:-1])
        assert not any("received_at" in event or "ip_address" in event for event in batch)
        assert len({event["event_id"] for event in batch}) == len(batch)
        ids += [event["event_id"] for event in batch]
    assert sorted(ids) == sorted(event["event_id"] for event in recent)
    assert any(parse_user_agent(request.headers["user-agent"]).is_bot for request in requests)


def test_the_corrected_time_equals_the_simulated_time(recent: list[dict[str, Any]]) -> None:
    simulated = {
        event["event_id"]: corrected_time(
            *(datetime.fromisoformat(event[n]) for n in ("created_at", "sent_at", "received_at"))
        )
        for event in recent
    }
    errors: defaultdict[bool, list[timedelta]] = defaultdict(list)

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        sent = datetime.fromisoformat(body["sent_at"])
        for event in body["events"]:
            corrected = corrected_time(datetime.fromisoformat(event["created_at"]), sent, NOW)
            errors[sent != NOW].append(abs(corrected - simulated[event["event_id"]]))
        return accept(request)

    sender(answer).send(recent)
    assert len(errors[True]) > 50  # events from phones with a wrong clock
    assert max(errors[True]) < timedelta(seconds=1)
    assert max(errors[False]) == timedelta()


def test_rejected_events_are_counted_and_reasons_are_kept(recent: list[dict[str, Any]]) -> None:
    broken = [{**event, "payload": {"click": "here"}} if event["event_type"] == "click" else event for event in recent]
    delivery = sender(accept).send(broken)
    clicks = sum(event["event_type"] == "click" for event in recent)
    assert delivery.rejected == clicks > 20
    assert delivery.accepted == len(recent) - clicks
    assert len(delivery.reasons) == 20
    assert "invalid_payload" in delivery.reasons[0]


def test_an_error_response_is_reported_with_the_apis_detail(recent: list[dict[str, Any]]) -> None:
    refuse = httpx.Response(401, json={"title": "Unauthorized", "detail": "No site has this key."})
    with pytest.raises(UserError, match=r"answered 401: No site has this key\..*public key"):
        sender(lambda _: refuse).send(recent)


def test_responses_503_and_429_are_retried(recent: list[dict[str, Any]]) -> None:
    answers = iter([httpx.Response(503), httpx.Response(429, json={"title": "Too many events"})])
    delivery = sender(lambda request: next(answers, None) or accept(request)).send(recent[:40])
    assert delivery.accepted == 40


def test_an_unreachable_api_is_reported_with_the_remedy(
    recent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    monkeypatch.setattr("demo.api_sender._ATTEMPTS", 1)
    with pytest.raises(UserError, match=r"http://api.example did not respond .*tilda status"):
        sender(gone).send(recent)


def test_events_in_the_future_are_not_sent(recent: list[dict[str, Any]]) -> None:
    early = Sender(
        "http://api.example",
        "pk_shop",
        "sk_secret",
        clock=lambda: NOW - timedelta(hours=72),
        transport=httpx.MockTransport(accept),
    )
    with pytest.raises(UserError, match="in the future"):
        early.send(recent)
