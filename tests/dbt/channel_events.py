"""Page views that test the channel of a visit: one visitor with one page view for each case.

`channel_cases/ga4_rules.csv`: cases written from GA4's published rules. The first case of a rule quotes the rule.
`channel_cases/peers.csv`: what the channel tests of Plausible and PostHog state, as facts in our own form, with the
    channel that they expect and ours. Names of channels that differ only in spelling are ours.
`channel_cases/ga4_sources.txt`: every source that Google publishes for GA4's channel groups, with its category.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb

from tests.dbt.events import BEGIN, CHANNEL_SITE
from warehouse.events.enrichment import make_row
from warehouse.events.schema import Event

FOLDER = Path(__file__).parent / "channel_cases"
SPACE = UUID("5f3c9f57-2a3e-4c55-9c4a-2f7f4b8f2a22")
ORGANIC = {
    "search": "Organic Search",
    "social": "Organic Social",
    "video": "Organic Video",
    "shopping": "Organic Shopping",
}
# Entries of Google's list that have another category in the seed `channel_sources`, with the reason.
OTHER_CATEGORIES = {
    "mail.yandex.ru": "Email",  # published as search, but it is web mail
    "mail.rambler.ru": "Email",
    "email.seznam.cz": "Email",
    "zen.yandex.ru": "Organic Social",  # published as search, but it is the feed of Dzen
}


@dataclass(frozen=True)
class Case:
    """A page view and its expected channel.

    Attributes:
        name: Name of the case, the visitor's ID.
        query: Query string of the landing page.
        referrer: `document.referrer` or "".
        channel: The expected channel.
        is_like_peer: False if the peer that the case is from expects another channel.
    """

    name: str
    query: str
    referrer: str
    channel: str
    is_like_peer: bool = True


def rule_cases() -> list[Case]:
    """Return the cases from GA4's rules."""
    return [
        Case(f"{row['rule'].partition(':')[0]} {number}", row["query"], row["referrer"], row["channel"])
        for number, row in enumerate(_rows("ga4_rules.csv"), 1)
    ]


def peer_cases() -> list[Case]:
    """Return the cases of the peers."""
    return [
        Case(
            f"{row['peer']} {number}",
            row["query"],
            row["referrer"],
            row["channel"],
            is_like_peer=row["peer_channel"].rstrip("s") == row["channel"].rstrip("s"),
        )
        for number, row in enumerate(_rows("peers.csv"), 1)
    ]


def source_cases() -> list[Case]:
    """Return one case for each published source as `utm_source`, and one for each published host as a referrer."""
    cases: list[Case] = []
    for source, category in published_sources():
        channel = OTHER_CATEGORIES.get(source, ORGANIC[category])
        cases.append(Case(f"source {source}", f"utm_source={source.replace('+', '%2B')}", "", channel))
        # A visitor who returns from stripe.com has not arrived from there (seed `referrer_exclusions`).
        if "." in source and not source.endswith("stripe.com"):
            cases.append(Case(f"referrer {source}", "", f"https://{source}/", channel))
    return cases


def published_sources() -> Iterator[tuple[str, str]]:
    """Yield each source of Google's list with its category."""
    for line in (FOLDER / "ga4_sources.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            category, _, names = line.partition(": ")
            yield from ((name.replace("_", " "), category) for name in names.split())


def channel_events() -> list[dict[str, Any]]:
    """Return the page views of all cases as rows of public.events, parsed as the ingest API parses them."""
    return [_row(case) for case in [*rule_cases(), *peer_cases(), *source_cases()]]


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _row(case: Case) -> dict[str, Any]:
    event = Event(
        event_id=uuid5(SPACE, case.name),
        event_type="page_view",
        page_url=f"https://shop.ru/?{case.query}",
        referrer=case.referrer,
        user_id=case.name,
        session_id=uuid5(SPACE, f"session of {case.name}"),
    )
    row = make_row(event, site_id=CHANNEL_SITE, source="api", address=None, user_agent=None)
    columns = ("event_id", "site_id", "user_id", "session_id", "event_type", "source", "page_host", "page_path")
    columns += ("referrer_host", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
    return {name: getattr(row, name) for name in columns} | {
        "is_bot": False,
        "click_ids": row.click_ids and Jsonb(row.click_ids),
        "created_at": BEGIN,
        "received_at": BEGIN,
        "payload": {},
    }
