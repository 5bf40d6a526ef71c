"""The demo visits its page with a headless browser. Only the demo's stack counts that browser as a person."""

import pytest

from tilda.commands.stack import allow_headless_visits
from warehouse.events.user_agents import UserAgents
from warehouse.kit.settings import load_settings

HEADLESS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize("own", [(), ("our-monitor",)])
def test_the_demo_stack_counts_its_headless_browser_as_a_person(
    monkeypatch: pytest.MonkeyPatch, own: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BOT_EXCEPTIONS", ",".join(own))
    assert UserAgents(load_settings().bot_exceptions).parse(HEADLESS).is_bot
    allow_headless_visits(load_settings())
    assert load_settings().bot_exceptions == (*own, "HeadlessChrome")
    assert not UserAgents(load_settings().bot_exceptions).parse(HEADLESS).is_bot
