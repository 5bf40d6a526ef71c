"""Persons: which visitors (browsers) belong to one human being, at which time.

The rules:

- Two different account IDs (`external_id`) are two persons, whatever else they have in common.
- An e-mail address belongs to the account that it was given with, in one event or on a browser with a single account.
  An address that was given with several accounts joins nobody.
- A browser with one account, or without accounts with at most `KIOSK_EMAILS` addresses, belongs to one person. Any
  other browser is shared and joins nobody. On a shared browser, a session belongs to the person who identifies first in
  it, and from another identification on to that person; a session without identification belongs to the person who
  identified last before it, or first of all.
- If addresses join browsers of different accounts in a chain, none of the addresses in the chain joins anybody.
- An identifier that the events of more than `MAX_VISITORS` visitors have is no identifier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from tests.dbt.oracle.orders import Groups
from tests.dbt.oracle.sessions import Event

KIOSK_EMAILS = 2
MAX_VISITORS = 25

Identity = tuple[str, str]
"""A kind, `external_id` or `email_sha256`, and a value."""


def persons(events: list[Event]) -> dict[str, str]:
    """Return the person of each event of one site, by event ID; two events have the same person or not.

    Args:
        events: Events in order of time (`prepare`) with their sessions (`sessionise`).

    The name of a person is its account ID, else the smallest of its addresses, else the visitor; each with a prefix.
    """
    said = {str(event["event_id"]): _identities(event) for event in events}
    ignored = _too_common(events, said)
    said = {event_id: [one for one in found if one not in ignored] for event_id, found in said.items()}
    by_visitor: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_visitor[event["user"]].append(event)
    on_browser = {
        user: list(dict.fromkeys(one for event in own for one in said[str(event["event_id"])]))
        for user, own in by_visitor.items()
    }

    account_of, ambiguous = _accounts_of_addresses(said, on_browser)

    def resolved(identity: Identity) -> Identity:
        return account_of.get(identity, identity)

    shared = {
        user
        for user, found in on_browser.items()
        if len(_accounts({resolved(one) for one in found})) > 1
        or (not _accounts(set(found)) and len(found) > KIOSK_EMAILS)
    }
    name_of = _joined({user: found for user, found in on_browser.items() if user not in shared}, resolved, ambiguous)

    result: dict[str, str] = {}
    for user, own in by_visitor.items():
        first_in: dict[object, Identity] = {}
        for event in own:
            for identity in said[str(event["event_id"])]:
                first_in.setdefault(event["session"], identity)
        current: Identity | None = next(iter(on_browser[user]), None)
        session = None
        for event in own:
            found = said[str(event["event_id"])]
            if user in shared:
                if event["session"] != session:
                    session = event["session"]
                    current = first_in.get(session, current)
                current = next(iter(found), current)
                is_known = current is not None and current not in ambiguous
                result[str(event["event_id"])] = name_of(current) if current and is_known else f"visitor {user}"
            else:
                usable = [one for one in on_browser[user] if one not in ambiguous]
                best = next((one for one in usable if one[0] == "external_id"), usable[0] if usable else None)
                result[str(event["event_id"])] = name_of(best) if best else f"visitor {user}"
    return result


def _identities(event: Event) -> list[Identity]:
    identity = (event["payload"] or {}).get("identity")
    if not isinstance(identity, dict):
        return []
    return [(kind, str(identity[kind])) for kind in ("external_id", "email_sha256") if identity.get(kind)]


def _too_common(events: list[Event], said: dict[str, list[Identity]]) -> set[Identity]:
    holders: dict[Identity, set[str]] = defaultdict(set)
    for event in events:
        for identity in said[str(event["event_id"])]:
            holders[identity].add(event["user"])
    return {identity for identity, users in holders.items() if len(users) > MAX_VISITORS}


def _accounts(identities: set[Identity]) -> set[Identity]:
    return {identity for identity in identities if identity[0] == "external_id"}


def _accounts_of_addresses(
    said: dict[str, list[Identity]], on_browser: dict[str, list[Identity]]
) -> tuple[dict[Identity, Identity], set[Identity]]:
    """Return the account of each address that has one, and the addresses that have several."""
    accounts: dict[Identity, set[Identity]] = defaultdict(set)
    for found in [*said.values(), *(own for own in on_browser.values() if len(_accounts(set(own))) == 1)]:
        for address in found:
            if address[0] == "email_sha256":
                accounts[address] |= _accounts(set(found))
    account_of = {address: next(iter(names)) for address, names in accounts.items() if len(names) == 1}
    return account_of, {address for address, names in accounts.items() if len(names) > 1}


def _joined(
    on_browser: dict[str, list[Identity]], resolved: Callable[[Identity], Identity], ambiguous: set[Identity]
) -> Callable[[Identity], str]:
    """Return a function from an identity to the name of its person."""
    identities = sorted({resolved(one) for found in on_browser.values() for one in found if one not in ambiguous})
    number = {identity: position for position, identity in enumerate(identities)}
    groups = Groups(len(identities))
    for found in on_browser.values():
        known = [number[resolved(one)] for one in found if one not in ambiguous]
        for other in known[1:]:
            groups.join(known[0], other)
    members: dict[int, set[Identity]] = defaultdict(set)
    for identity, position in number.items():
        members[groups.find(position)].add(identity)

    def name(identity: Identity) -> str:
        own = resolved(identity)
        if own not in number or len(_accounts(members[groups.find(number[own])])) > 1:
            return f"{own[0]} {own[1]}"
        group = members[groups.find(number[own])]
        accounts = _accounts(group)
        best = min(accounts or group)
        return f"{best[0]} {best[1]}"

    return name
