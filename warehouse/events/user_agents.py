"""What a user agent says: the device, the browser, the operating system, and whether a program sends it.

Browsers and operating systems come from uap-core (package ua-parser), crawlers from isbot (`isbot.py`), device types
from `device_types.py`. The expressions in this file cover the few names that the two lists lack.
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

# Tried before uap-core's rules, which miss newer forms of these names.
_BROWSERS = (
    (r"(?:YaBrowser|YaSearchBrowser|YaSearchApp|YaApp_Android|YaApp_iOS|YandexSearch)/", "Yandex Browser"),
    (r"(?:VKAndroidApp|VKiOSApp|VKClient|VKApp|com\.vk\.vkclient)/", "VK"),
    (r"Telegram(?:-Android|-iOS|-Mac|-macOS|-Desktop)?/", "Telegram"),
    (r"MiuiBrowser/", "MiuiBrowser"),
    (r"Instagram[ /]", "Instagram"),
)

# Names that isbot lacks: synthetic monitors, emulated browsers, Yahoo's crawler. Catchpoint writes its name where the
# model of a phone stands, which `_NOT_OF_PROGRAMS` hides from isbot.
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
    """What a user agent says: `device_type` is desktop, mobile, tablet, tv or bot."""

    device_type: str | None
    browser: str | None
    os: str | None
    is_bot: bool


_NOTHING = Agent(None, None, None, is_bot=False)


class UserAgents:
    """Reads user agents and remembers the last 20,000.

    Args:
        bot_exceptions: A user agent that contains one of these texts, in any case, is not flagged as a bot.
    """

    def __init__(self, bot_exceptions: Iterable[str] = ()) -> None:
        self._exceptions = tuple(text.lower() for text in bot_exceptions if text)
        self._remembered = lru_cache(maxsize=20_000)(self._parse)

    def parse(self, user_agent: str | None) -> Agent:
        """Read a user agent. Of None and of the empty string nothing is known."""
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
    """Tells whether one of many expressions matches. Rust tries those without lookaround at once, Python the others."""

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
"""Read a user agent, without exceptions from the rules for bots."""
