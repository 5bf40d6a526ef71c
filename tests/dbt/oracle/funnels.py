"""Goals and funnels.

The rules of goals: an order is one purchase. An event that fits a goal's type, path (SQL LIKE) and form is a conversion
of the goal; a sent form that the browser and the webhook report with one transaction ID is one conversion. A form that
places an order is no conversion of a goal for sent forms, unless the goal asks for orders.

The rules of funnels: a visitor enters at step 1 and may take the further steps within the window that begins there. An
event takes one step, the furthest that is next. After the window, step 1 enters again. In strict order no other step of
the funnel may come between two steps. A funnel belongs to a site, or to all sites: its ID may be used on several sites.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from tests.dbt.oracle.orders import Groups
from tests.dbt.oracle.sessions import Event


@dataclass(frozen=True)
class Goal:
    """A condition on events; None places no condition."""

    event_type: str
    page_path: str | None = None
    form_id: str | None = None
    counts_orders: bool = False


@dataclass(frozen=True)
class Step:
    """A step of a funnel."""

    event_type: str
    page_path: str | None = None


@dataclass(frozen=True)
class Entry:
    """A visitor's entry into a funnel, with the event IDs that took its steps."""

    user: str
    events: tuple[str, ...]


def conversions(events: list[Event], goal: Goal) -> list[list[Event]]:
    """Return the records of each conversion of a goal other than a purchase, for one site's events."""
    ordered = {_transaction(event) for event in events if event["event_type"] == "purchase"} - {None}
    fitting = [
        event
        for event in events
        if event["event_type"] == goal.event_type
        and _fits_path(event, goal.page_path)
        and goal.form_id in (None, _section(event, "form").get("id"))
        and (goal.counts_orders or not (_transaction(event) in ordered or _section(event, "order")))
    ]
    groups = Groups(len(fitting))
    first_of: dict[str, int] = {}
    for number, event in enumerate(fitting):
        if (transaction := _transaction(event)) is not None:
            groups.join(first_of.setdefault(transaction, number), number)
    found: dict[int, list[Event]] = defaultdict(list)
    for number, event in enumerate(fitting):
        found[groups.find(number)].append(event)
    return list(found.values())


def funnel(events: list[Event], steps: list[Step], window: timedelta, *, is_strict: bool = False) -> list[Entry]:
    """Return the entries into a funnel, for the events of one site in order of time."""
    finished: list[Entry] = []
    by_visitor: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_visitor[event["user"]].append(event)
    for user, own in by_visitor.items():
        taken: list[Event] = []
        is_broken = False
        for event in own:
            fits = [number for number, step in enumerate(steps) if _fits_step(event, step)]
            if not fits:
                continue
            if not taken or event["at"] > taken[0]["at"] + window:
                if 0 in fits:
                    finished += [_entry(user, taken)] if taken else []
                    taken, is_broken = [event], False
            elif len(taken) in fits and not is_broken:
                taken.append(event)
            else:
                is_broken = is_broken or is_strict
        finished += [_entry(user, taken)] if taken else []
    return finished


def _entry(user: str, taken: list[Event]) -> Entry:
    return Entry(user, tuple(str(event["event_id"]) for event in taken))


def _fits_step(event: Event, step: Step) -> bool:
    return event["event_type"] == step.event_type and _fits_path(event, step.page_path)


def _fits_path(event: Event, pattern: str | None) -> bool:
    if pattern is None:
        return True
    expression = "".join(".*" if char == "%" else "." if char == "_" else re.escape(char) for char in pattern)
    return event["page_path"] is not None and re.fullmatch(expression, event["page_path"], re.DOTALL) is not None


def _section(event: Event, name: str) -> dict[str, object]:
    section = (event["payload"] or {}).get(name)
    return section if isinstance(section, dict) else {}


def _transaction(event: Event) -> str | None:
    transaction = str(_section(event, "form").get("tranid") or "").rpartition(":")[2]
    return transaction if transaction not in ("", "0") else None
