"""An independent count of the sample log. It shares only the list of bots with the code under test."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from warehouse.events.user_agents import parse_user_agent

SAMPLE_LOG = Path(__file__).parents[2] / "demo" / "data" / "semicomplete-access.log.gz"
OWN_HOST = "semicomplete.com"
COMBINED = re.compile(r'(\S+) .*?\[(.+?)\] "GET (\S+).*?" (\d+) \S+ "(.*?)" "(.*?)"?$')
# File types in this log that are not pages. Scripts (.py, .rb, .cgi) are not listed because they may produce pages.
FILE = re.compile(
    r"\.(png|jpg|jpeg|gif|ico|css|js|pdf|doc|txt|xml|swf|gz|tgz|zip|bz2|rpm|deb|exe|pyc|spec|tex|lua|sh|c|h|cpp|patch|log"
    r"|conf|mp3|mp4|ogg|svg|ttf|woff|eot|pcap|xsl|tar|jar|java|vim|md|gem|diff|json|rss|atom|rdf)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class View:
    visitor: tuple[str, str]
    at: datetime
    order: int
    external: str | None
    is_bot: bool


def read_sample_log() -> list[View]:
    views: list[View] = []
    with gzip.open(SAMPLE_LOG, "rt") as lines:
        for order, line in enumerate(lines):
            found = COMBINED.match(line)
            if not found or found[4] not in {"200", "304"} or FILE.search(re.split("[?#]", found[3])[0].split("/")[-1]):
                continue
            agent = found[6].replace('\\"', '"')
            host = (urlsplit(found[5]).hostname or "").removeprefix("www.")
            own = host == OWN_HOST or host.endswith(f".{OWN_HOST}")
            at = datetime.strptime(found[2], "%d/%b/%Y:%H:%M:%S %z")
            is_bot = agent == "-" or parse_user_agent(agent).is_bot
            views.append(View((found[1], agent), at, order, None if own or not host else host, is_bot))
    return views


def count_sessions(views: list[View]) -> int:
    """A session ends after 30 idle minutes, or when another external referrer appears."""
    by_visitor: dict[tuple[str, str], list[View]] = defaultdict(list)
    for view in sorted(views, key=lambda view: (view.at, view.order)):
        by_visitor[view.visitor].append(view)
    sessions = 0
    for history in by_visitor.values():
        last, current = None, None
        for view in history:
            if last is None or view.at - last > timedelta(minutes=30) or (view.external and view.external != current):
                sessions += 1
                current = view.external
            last = view.at
    return sessions
