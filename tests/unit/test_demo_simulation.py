"""The simulated shop's events are reproducible, ordered and valid, and have the defects of real events."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from demo.simulation.behaviour import CHANGED
from demo.simulation.delivery import RESENT_SHARE
from demo.simulation.simulation import Simulation
from warehouse.events.schema import Limits
from warehouse.events.user_agents import parse_user_agent
from warehouse.events.validation import parse_event

END = datetime(2026, 11, 5, 9, 30, tzinfo=UTC)
Event = dict[str, Any]


def run(visitors: int = 1_500, days: int = 30, seed: int = 7, **changes: Any) -> Simulation:
    settings: dict[str, Any] = {"timezone": "Europe/Berlin", "domain": "shop.example", "end": END, **changes}
    return Simulation(visitors, days, seed, **settings)


def moment(event: Event, name: str) -> datetime:
    return datetime.fromisoformat(event[name])


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return list(run().events())


def people(events: list[Event]) -> list[Event]:
    return [event for event in events if not parse_user_agent(event["user_agent"]).is_bot]


def test_the_same_parameters_give_the_same_events(events: list[Event]) -> None:
    assert list(run().events()) == events


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"visitors": 1_501},
        {"days": 31},
        {"timezone": "Europe/Paris"},
        {"domain": "other.example"},
        {"end": END + timedelta(days=1)},
        {"signal": False},
        {"change_at": END - timedelta(days=3)},
        {"usual": CHANGED},
    ],
    ids=lambda change: next(iter(change)),
)
def test_runs_with_different_parameters_share_no_ids(events: list[Event], change: dict[str, Any]) -> None:
    other = list(islice(run(**change).events(), 2_000))
    for name in ("event_id", "session_id", "user_id"):
        assert {event[name] for event in events}.isdisjoint(event[name] for event in other)


def test_events_are_ordered_by_arrival_and_end_before_the_end_time(events: list[Event]) -> None:
    arrivals = [moment(event, "received_at") for event in events]
    assert all(earlier <= later for earlier, later in pairwise(arrivals))
    assert arrivals[0] >= datetime(2026, 10, 6, tzinfo=ZoneInfo("Europe/Berlin"))
    assert END - timedelta(hours=3) < arrivals[-1] < END


def test_every_event_is_valid(events: list[Event]) -> None:
    for event in events:
        parsed = parse_event(msgspec.json.encode(event), Limits())
        assert parsed.session_id is not None
        for name in ("event_id", "session_id", "user_id"):
            assert UUID(event[name]).version == 4
        # The live API keeps the sender's `created_at` only within these bounds.
        late = moment(event, "received_at") - moment(event, "created_at")
        assert timedelta(hours=-25) < late < timedelta(days=35)
    assert {event["event_type"] for event in events} == {
        *("page_view", "scroll", "click", "page_leave", "add_to_cart", "purchase", "signup"),
        *("form_start", "form_abandon", "form_submit"),
    }


def test_visitors_return_and_come_from_several_campaigns_and_devices(events: list[Event]) -> None:
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    devices: defaultdict[str, set[str]] = defaultdict(set)
    campaigns: Counter[str] = Counter()
    for event in people(events):
        sessions[event["user_id"]].add(event["session_id"])
        devices[event["user_id"]].add(event["user_agent"])
        if event["event_type"] == "page_view":
            campaigns[event["payload"].get("utm", {}).get("campaign", "")] += 1
    assert 0.95 * 1_500 < len(sessions) <= 1_500
    assert 0.25 < sum(len(own) > 1 for own in sessions.values()) / len(sessions) < 0.7
    assert all(len(own) == 1 for own in devices.values())
    kinds = Counter(parse_user_agent(next(iter(own))).device_type for own in devices.values())
    assert kinds["mobile"] > kinds["desktop"] > kinds["tablet"] > 0
    assert len(campaigns) == 6
    assert min(campaigns.values()) > 20


def test_a_session_has_one_visitor_one_landing_page_and_lasts_under_an_hour(events: list[Event]) -> None:
    sessions: defaultdict[str, list[Event]] = defaultdict(list)
    for event in people(events):
        sessions[event["session_id"]].append(event)
    for own in sessions.values():
        assert len({event["user_id"] for event in own}) == 1
        moments = sorted(moment(event, "created_at") for event in own)
        assert moments[-1] - moments[0] < timedelta(hours=1)
        landings = {
            event["page_url"] for event in own if event["referrer"] is None or "shop.example" not in event["referrer"]
        }
        assert len(landings) == 1


def test_visits_follow_the_day_in_the_sites_time_zone(events: list[Event]) -> None:
    hours = Counter(
        moment(event, "received_at").astimezone(ZoneInfo("Europe/Berlin")).hour
        for event in people(events)
        if event["event_type"] == "page_view"
    )
    assert sum(hours[hour] for hour in range(18, 23)) > 8 * sum(hours[hour] for hour in range(1, 6))


def test_crawlers_visit_with_their_own_user_agents_and_ids(events: list[Event]) -> None:
    crawled = [event for event in events if parse_user_agent(event["user_agent"]).is_bot]
    assert 0.005 < len(crawled) / len(events) < 0.1
    assert {event["event_type"] for event in crawled} == {"page_view"}
    assert {event["user_id"] for event in crawled}.isdisjoint(event["user_id"] for event in people(events))


def test_a_few_phones_send_their_sessions_late(events: list[Event]) -> None:
    journey: dict[str, timedelta] = {}
    for event in people(events):  # some batches arrive twice: only the first arrival counts
        journey.setdefault(event["session_id"], moment(event, "sent_at") - moment(event, "created_at"))
    late = {session for session, took in journey.items() if took > timedelta(minutes=5)}
    assert 0.005 < len(late) / len(journey) < 0.04
    assert max(journey.values()) < timedelta(hours=48)
    assert max(journey.values()) > timedelta(hours=12)
    for event in events:
        if event["session_id"] in late:
            assert parse_user_agent(event["user_agent"]).device_type == "mobile"
    sendings: defaultdict[str, set[str]] = defaultdict(set)
    for event in {event["event_id"]: event for event in reversed(events)}.values():
        sendings[event["session_id"]].add(event["sent_at"])
    assert all(len(sendings[session]) == 1 for session in late)


def test_a_wrong_clock_shows_as_a_difference_between_sending_and_arrival(events: list[Event]) -> None:
    ahead = {event["user_id"]: moment(event, "sent_at") - moment(event, "received_at") for event in people(events)}
    wrong = {user: error for user, error in ahead.items() if abs(error) > timedelta(seconds=60)}
    assert 0.01 < len(wrong) / len(ahead) < 0.04
    assert any(timedelta(hours=-6) < error < timedelta(hours=-1) for error in wrong.values())
    assert any(timedelta(minutes=1) < error < timedelta(hours=1) for error in wrong.values())


def test_some_batches_arrive_twice(events: list[Event]) -> None:
    copies = Counter(event["event_id"] for event in events)
    again = {event_id for event_id, count in copies.items() if count > 1}
    assert RESENT_SHARE / 2 < len(again) / len(copies) < RESENT_SHARE * 2
    assert max(copies.values()) == 2
    versions: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["event_id"] in again:
            versions[event["event_id"]].append(event)
    for first, second in versions.values():
        assert moment(first, "received_at") < moment(second, "received_at")
        changing = {"sent_at", "received_at"}
        assert all(first[name] == second[name] for name in first if name not in changing)


def test_a_purchase_follows_an_add_to_cart(events: list[Event]) -> None:
    carted: set[str] = set()
    for event in sorted(people(events), key=lambda event: moment(event, "created_at")):
        if event["event_type"] == "add_to_cart":
            carted.add(event["user_id"])
        if event["event_type"] == "purchase":
            assert event["user_id"] in carted
            order = event["payload"]["order"]
            assert order["amount"] == sum(item["price"] * item["quantity"] for item in order["items"]) > 0


def test_progress_is_reported_per_day() -> None:
    progress: list[tuple[int, int]] = []
    for _ in run(visitors=20, days=3).events(lambda done, days: progress.append((done, days))):
        pass
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_smallest_run_is_one_visitor_for_one_day() -> None:
    for timezone in ("Asia/Kolkata", "America/Santiago", "Pacific/Apia"):
        simulation = run(visitors=1, days=1, timezone=timezone, end=datetime(2026, 9, 6, 15, tzinfo=UTC))
        assert len({event["user_id"] for event in people(list(simulation.events()))}) == 1
        assert simulation.midnights()[0] == simulation.start


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visitors": 0}, "at least one visitor"),
        ({"days": 0}, "at least one visitor and one day"),
        ({"end": datetime(2026, 11, 5)}, "timezone"),  # noqa: DTZ001
        ({"timezone": "Australia/Lord_Howe", "end": datetime(2026, 10, 20, tzinfo=UTC)}, "fraction of an hour"),
        ({"timezone": "Mars/Base"}, "Mars/Base"),
    ],
)
def test_invalid_parameters_are_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        run(**changes)
