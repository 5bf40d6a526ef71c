"""Parses user agents: device type, browser, operating system, and whether the sender is a bot.

The rules for browsers and operating systems come from uap-core (package ua-parser), those for bots from isbot
(`isbot.py`), and those for device types from `device_types.py`. The expressions in this file cover names that uap-core
and isbot lack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ua_parser import Domain, load_lazy_builtins
from ua_parser.matchers import UserAgentMatcher
from ua_parser.regex import Resolver
from ua_parser_rs import DeviceExtractor

from warehouse.events import isbot
from warehouse.events.device_types import device_type
from warehouse.events.schema import MAX_TEXT

MAX_NAME = 128

# Applied before uap-core's rules, which lack newer forms of these names.
_BROWSERS = (
    (r"(?:YaBrowser|YaSearchBrowser|YaSearchApp|YaApp_Android|YaApp_iOS|YandexSearch)/", "Yandex Browser"),
    (r"(?:VKAndroidApp|VKiOSApp|VKClient|VKApp|com\.vk\.vkclient)/", "VK"),
    (r"Telegram(?:-Android|-iOS|-Mac|-macOS|-Desktop)?/", "Telegram"),
    (r"MiuiBrowser/", "MiuiBrowser"),
    (r"Instagram[ /]", "Instagram"),
)

# Names that isbot lacks: synthetic monitors, emulated browsers, Yahoo's crawler. Catchpoint writes its
# name where phones write their model, and `_NOT_OF_PROGRAMS` removes that part before isbot's second check.
_PROGRAMS = (
    "appdynamics", "catchpoint", "checkly", "debugbear", "dynatrace", "gtmetrix", "ruxit", "thousandeyes", "uptrends",
    "happydom/", "htmlunit", "jsdom/", "puppeteer", "slimerjs", r"zombie\.js", r"slurp\b",
)  # fmt: skip

# Parts of browsers' user agents that match one of isbot's patterns.
_NOT_OF_PROGRAMS = re.compile(
    r"""
    (?<=android\ )[\d.]+;\ ?(?:u;\ ?)?(?:[a-z]{2}[-_][a-z]{2};\ ?)?[^;()]*  # a phone's model: "Newsday", "Spider 8"
    |(?:bada|ce-html|webos)/1\.0;                                           # platforms of phones and televisions
    |google\ ?tv|\.catcher[\d.]+|^(?:amazon;|smarttv_)aft[^ ]*              # televisions
    |process/tools\w*                                                       # WeChat's mini programs
    |sogou(?:mse|mobilebrowser)                                             # the browser of a search engine
    |chromeframe/[\d.]+                                                     # a plugin of Internet Explorer
    """,
    re.ASCII | re.VERBOSE,
)


class Agent(NamedTuple):
    """A parsed user agent; `device_type` is desktop, mobile, tablet, tv or bot. An unknown value is None."""

    device_type: str | None
    browser: str | None
    os: str | None
    is_bot: bool


_NOTHING = Agent(None, None, None, is_bot=False)


class UserAgents:
    """Parses user agents, with a cache of 20,000 entries.

    Args:
        bot_exceptions: Texts; a user agent that contains one of them (case-insensitive) is not flagged as a bot.
    """

    def __init__(self, bot_exceptions: Iterable[str] = ()) -> None:
        self._exceptions = tuple(text.lower() for text in bot_exceptions if text)
        self._remembered = lru_cache(maxsize=20_000)(self._parse)

    def parse(self, user_agent: str | None) -> Agent:
        """Parse a user agent. For None and the empty string, all fields are unknown."""
        return self._remembered(user_agent[:MAX_TEXT]) if user_agent else _NOTHING

    def _parse(self, user_agent: str) -> Agent:
        found = _resolve(user_agent, Domain.USER_AGENT | Domain.OS)
        is_bot = self._is_bot(user_agent.lower())
        return Agent(
            "bot" if is_bot else device_type(user_agent),
            found.user_agent.family[:MAX_NAME] if found.user_agent else None,
            found.os.family[:MAX_NAME] if found.os else None,
            is_bot,
        )

    def _is_bot(self, lowered: str) -> bool:
        if any(text in lowered for text in self._exceptions):
            return False
        return _is_program(lowered) or (_isbot(lowered) and _isbot(_NOT_OF_PROGRAMS.sub("", lowered)))


class _AnyOf:
    """Checks whether any of many expressions matches.

    Rust matches all expressions without lookaround at once; Python matches the others.
    """

    def __init__(self, expressions: Iterable[str]) -> None:
        fast: list[str] = []
        slow: list[str] = []
        for expression in expressions:
            (slow if re.search(r"\(\?<?[!=]", expression) else fast).append(expression)
        self._fast = DeviceExtractor([(expression, None, "any", None, None) for expression in fast])
        self._slow = re.compile("|".join(slow) or "(?!)", re.ASCII)

    def __call__(self, text: str) -> bool:
        return bool(text) and (self._fast.extract(text) is not None or self._slow.search(text) is not None)


_is_program = _AnyOf(_PROGRAMS)
_isbot = _AnyOf(isbot.patterns())

_uap_browsers, _uap_systems, _ = load_lazy_builtins()
_own_browsers = [UserAgentMatcher(expression, family) for expression, family in _BROWSERS]
_resolve = Resolver(([*_own_browsers, *_uap_browsers], _uap_systems, []))

parse_user_agent = UserAgents().parse
"""Parse a user agent without bot exceptions."""
