"""Parsing of user agents. Expected values come from vendors' documentation and from isbot's fixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.events import isbot
from warehouse.events.user_agents import UserAgents, parse_user_agent

FOLDER = Path(__file__).parent


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text())


AGENTS = _read("user_agents.yml")
HEADLESS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("user_agent", "expected"), [(agent, expected) for expected, group in AGENTS["people"].items() for agent in group]
)
def test_devices_browsers_and_systems_of_people_are_recognised(user_agent: str, expected: str) -> None:
    assert parse_user_agent(user_agent) == (*expected.split(", "), False)


@pytest.mark.parametrize("user_agent", AGENTS["televisions"])
def test_televisions_are_recognised(user_agent: str) -> None:
    agent = parse_user_agent(user_agent)
    assert (agent.device_type, agent.is_bot) == ("tv", False)


@pytest.mark.parametrize("user_agent", AGENTS["crawlers"] + AGENTS["headless_browsers_and_monitors"])
def test_crawlers_headless_browsers_and_synthetic_monitors_are_flagged(user_agent: str) -> None:
    agent = parse_user_agent(user_agent)
    assert (agent.device_type, agent.is_bot) == ("bot", True)


@pytest.mark.parametrize(("file", "is_bot", "wrong"), [("crawlers.yml", True, 0.02), ("browsers.yml", False, 0.005)])
def test_isbots_crawlers_are_flagged_and_its_browsers_are_not(file: str, *, is_bot: bool, wrong: float) -> None:
    agents = [agent for group in _read(f"isbot_fixtures/{file}").values() for agent in group]
    mistaken = [agent for agent in agents if parse_user_agent(agent).is_bot != is_bot]
    assert len(agents) > 500
    assert len(mistaken) <= wrong * len(agents), mistaken


def test_exceptions_are_not_counted_as_bots() -> None:
    agents = UserAgents(["our-monitor", "headlesschrome"])
    for user_agent in (HEADLESS, "curl/8.5.0 Our-Monitor/2"):
        assert parse_user_agent(user_agent).is_bot
        assert (agents.parse(user_agent).device_type, agents.parse(user_agent).is_bot) == ("desktop", False)
    assert agents.parse("curl/8.5.0").is_bot
    assert UserAgents([""]).parse(HEADLESS).is_bot


def test_a_missing_user_agent_gives_nulls() -> None:
    assert parse_user_agent(None) == parse_user_agent("") == (None, None, None, False)


@given(st.text(max_size=2_000) | st.from_regex(r"\AMozilla/\d\.\d \([ -~]{0,900}\) [ -~]{0,500}\Z"))
@settings(max_examples=200, deadline=None)
def test_any_text_has_a_device_type_and_bounded_names(user_agent: str) -> None:
    agent = parse_user_agent(user_agent)
    assert agent.device_type in {None, "desktop", "mobile", "tablet", "tv", "bot"}
    assert agent.is_bot == (agent.device_type == "bot")
    assert all(name is None or len(name) <= 128 for name in (agent.browser, agent.os))


@pytest.mark.parametrize(
    ("javascript", "python"),
    [
        ("(?<! channel/|google/)google(?!app)", "(?<! channel/)(?<!google/)google(?!app)"),
        (r"^(?:[\w\d-.]+)$", r"^(?:[\w\d\-.]+)$"),
        (r"@[a-z][\w-]+\.", r"@[a-z][\w-]+\."),
        ("(?<!cam)scan|b", "(?<!cam)scan|b"),
    ],
)
def test_isbot_patterns_are_translated_to_python(javascript: str, python: str) -> None:
    assert isbot.translate(javascript) == python


def test_the_vendored_isbot_has_a_version() -> None:
    assert [int(part) for part in isbot.version().split(".")] >= [5, 2, 0]
    assert len(isbot.patterns()) > 150
