"""Measure how many user agents of public fixture files are classified correctly, and the time per user agent.

    python -m bench.user_agents FILE…

The script prints numbers and percentages of fixtures, and the time to parse a new user agent in microseconds. It
recognises a file by its content: fixtures of isbot (YAML by name, `crawlers.yml` and `browsers.yml`), of Matomo's
device-detector (YAML lists, `Tests/fixtures/*.yml`), of uap-core (`tests/test_device.yaml`, `tests/test_ua.yaml`), and
of crawler-user-agents (JSON). Only the licence of isbot allows a copy in this repository; download the other files.

The rate of browsers that are flagged as bots counts isbot's browsers and user agents that begin with "Mozilla/" or
"Opera/". All others are apps, media players and feed readers, which do not run the collector.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from warehouse.events.user_agents import UserAgents

TYPES = {
    "smartphone": "mobile", "phablet": "mobile", "feature phone": "mobile",
    "tablet": "tablet", "tv": "tv", "desktop": "desktop",
}  # fmt: skip
"""Device types of Matomo, and the equivalent types of this project."""
BROWSERS = {
    "Yandex Browser": "Yandex Browser", "Yandex Browser Lite": "Yandex Browser", "Samsung Browser": "Samsung Internet",
    "Mi Browser": "MiuiBrowser", "Instagram": "Instagram", "VK": "VK", "Telegram": "Telegram",
}  # fmt: skip
"""Matomo's names of the browsers that are compared, and the names in this project."""
SAMPLE = 2_000


@dataclass(frozen=True)
class Fixture:
    """A user agent and its expected classification; None if the file does not state it."""

    file: str
    agent: str
    is_bot: bool
    device_type: str | None = None
    browser: str | None = None

    @property
    def may_visit(self) -> bool:
        """True if a visitor of a website may have this user agent, judged by its first word."""
        return self.file.startswith("isbot") or self.agent.startswith(("Mozilla/", "Opera/"))


def read(path: Path) -> Iterator[Fixture]:
    """Yield the fixtures of a file.

    Raises:
        ValueError: The format is unknown.
    """
    content = json.loads(path.read_text()) if path.suffix == ".json" else _yaml(path)
    match content:
        case {"test_cases": cases}:
            for case in cases:
                yield Fixture(f"uap-core {path.name}", case["user_agent_string"], case["family"] == "Spider")
        case dict():
            for agent in (agent for group in content.values() for agent in group):
                yield Fixture(f"isbot {path.name}", agent, path.stem == "crawlers")
        case [{"instances": _}, *_]:
            for agent in (agent for crawler in content for agent in crawler["instances"]):
                yield Fixture(f"crawler-user-agents {path.name}", agent, is_bot=True)
        case [{"user_agent": _}, *_]:
            # One table row for each kind (tv.yml, tv-1.yml, …). Skip cases that require client hints headers.
            name = f"Matomo {path.stem.rstrip('0123456789').rstrip('-')}"
            for case in content:
                if "user_agent" in case and "headers" not in case:
                    yield _of_matomo(name, case)
        case _:
            raise ValueError(f"{path} has an unknown format.")


def _of_matomo(name: str, case: dict[str, Any]) -> Fixture:
    if "bot" in case:
        return Fixture(name, case["user_agent"], is_bot=True)
    device, client = case.get("device") or {}, case.get("client") or {}
    return Fixture(
        name, case["user_agent"], False, TYPES.get(device.get("type") or ""), BROWSERS.get(client.get("name") or "")
    )


def _yaml(path: Path) -> object:
    with path.open() as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def main() -> int:
    """Classify all fixtures and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.user_agents", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    fixtures = list(dict.fromkeys(fixture for path in parser.parse_args().files for fixture in read(path)))
    console = Console()
    agents = UserAgents()
    console.print(_bots(fixtures, agents), _types(fixtures, agents), _browsers(fixtures, agents))
    microseconds = _cold_microseconds([fixture.agent for fixture in fixtures])
    console.print(f"{microseconds:.0f} µs to parse a user agent that is not cached")
    return 0


def _bots(fixtures: list[Fixture], agents: UserAgents) -> Table:
    table = Table("file", "crawlers", "missed", "browsers", "flagged", title="Bots")
    by_file: dict[str, list[Fixture]] = defaultdict(list)
    for fixture in fixtures:
        by_file[fixture.file].append(fixture)
    for file, group in by_file.items():
        crawlers = [agents.parse(fixture.agent).is_bot for fixture in group if fixture.is_bot]
        browsers = [agents.parse(one.agent).is_bot for one in group if not one.is_bot and one.may_visit]
        table.add_row(file, *_rate(len(crawlers) - sum(crawlers), len(crawlers)), *_rate(sum(browsers), len(browsers)))
    return table


def _types(fixtures: list[Fixture], agents: UserAgents) -> Table:
    table = Table("expected", "fixtures", "right", "found instead", title="Device types (Matomo)")
    for expected in dict.fromkeys(TYPES.values()):
        found: dict[str, int] = defaultdict(int)
        for fixture in fixtures:
            if fixture.device_type == expected:
                found[agents.parse(fixture.agent).device_type or ""] += 1
        total = sum(found.values())
        right = found.pop(expected, 0)
        others = ", ".join(f"{kind} {count:,}" for kind, count in sorted(found.items(), key=lambda one: -one[1]))
        table.add_row(expected, *_rate(right, total), others)
    return table


def _browsers(fixtures: list[Fixture], agents: UserAgents) -> Table:
    table = Table("browser", "fixtures", "named", title="Browsers (Matomo)")
    for name in dict.fromkeys(BROWSERS.values()):
        named = [agents.parse(one.agent).browser == name for one in fixtures if one.browser == name and one.may_visit]
        table.add_row(name, *_rate(sum(named), len(named)))
    return table


def _rate(part: int, whole: int) -> tuple[str, str]:
    return f"{whole:,}", f"{part:,} ({part / whole:.2%})" if whole else ""


def _cold_microseconds(user_agents: list[str]) -> float:
    """Return the time per user agent in microseconds: the best of three passes, each with an empty cache."""
    sample = random.Random(1).sample(user_agents, min(SAMPLE, len(user_agents)))
    best = float("inf")
    for _ in range(3):
        parse = UserAgents().parse
        start = time.perf_counter()
        for user_agent in sample:
            parse(user_agent)
        best = min(best, time.perf_counter() - start)
    return best / len(sample) * 1e6


if __name__ == "__main__":
    sys.exit(main())
