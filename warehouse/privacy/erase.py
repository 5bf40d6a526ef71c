"""Erase a person from all places.

An erasure first lists the visitor IDs, so that no new events are stored, then erases each place, then searches all
places again. Each step is committed separately and can be repeated. `ops.erasures` holds the IDs that lead to the
person's rows until the end, because the rows that contain them are erased early. So a killed erasure can continue.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from warehouse.archive.runs import archive_lock
from warehouse.backup import backups
from warehouse.backup.backups import Backup
from warehouse.kit import locks
from warehouse.kit.errors import UserError
from warehouse.kit.progress import Say, silent
from warehouse.kit.settings import Settings
from warehouse.privacy import erased_visitors
from warehouse.privacy.access import all_places, count_rows, session
from warehouse.privacy.files import ColdFiles, SpoolFile
from warehouse.privacy.person import Person, find_person
from warehouse.privacy.places import event_places, model_places, note_joined, record_places
from warehouse.sites.registry import find_site

ROUNDS = 3
"""Maximum number of rounds. Rows that were inserted by hand during a round are erased in the next round."""
ERASE_LOCK = "tilda.erase"
"""Lock that prevents concurrent erasures, which could do the same work twice."""


@dataclass(frozen=True)
class Erasure:
    """Result of an erasure, or of a dry run.

    Attributes:
        erasure_id: ID of the row in `ops.erasures`; None for a dry run.
        site_id: The person's site.
        visitor_ids: The person's visitor IDs.
        dry_run: Whether nothing was changed.
        removed: Number of erased rows, or for a dry run of rows to erase, by place, including places with 0 rows.
        left: Number of rows that the search after the erasure found: 0.
        seconds: Duration in seconds.
        backups: Backups that contain the person until they expire.
    """

    erasure_id: UUID | None
    site_id: str
    visitor_ids: list[str]
    dry_run: bool
    removed: dict[str, int]
    left: int
    seconds: float
    backups: list[Backup] = field(default_factory=list[Backup])


def erase(url: str, settings: Settings, site_id: str, user_id: str, *, dry_run: bool = False) -> Erasure:
    """Erase the person with a visitor ID, or count the rows; see `erase_person` and `plan_erasure`."""
    known = Person(site_id, frozenset({user_id}))
    return plan_erasure(url, settings, known) if dry_run else erase_person(url, settings, known)


def plan_erasure(url: str, settings: Settings, known: Person) -> Erasure:
    """Count the rows that `erase_person` would erase now.

    Raises:
        UserError: The site does not exist, or a place cannot be read.
    """
    started = time.monotonic()
    with session(url) as connection:
        find_site(connection, known.site_id)
        person = find_person(connection, known)
        counted = count_rows(connection, all_places(connection, settings), person)
    return Erasure(None, known.site_id, sorted(person.visitor_ids), True, counted, 0, _since(started))


def erase_person(url: str, settings: Settings, known: Person, *, say: Say = silent) -> Erasure:
    """Erase all data of a person, and verify that nothing is left.

    Args:
        url: Database URL without a transaction pooler, with the owner's login or the login `tilda_privacy`.
        settings: Settings with the location of spool, cold files and backups.
        known: At least one visitor ID or identity of the person. All others are found.
        say: Called with a description of each step.

    Raises:
        UserError: The site does not exist, a place cannot be reached, or rows were left. Repeating the call continues
            the erasure.
    """
    started = time.monotonic()
    site_id = known.site_id
    with session(url) as connection, locks.held(connection, ERASE_LOCK):
        find_site(connection, site_id)
        say("Looking for the person")
        erasure_id, person = _begin(connection, known)
        say("Waiting for open transactions")
        erased_visitors.wait_for_writers(connection)
        left = 1
        with archive_lock(connection):  # prevents moves of months
            for _ in range(ROUNDS):
                person = _find_more(connection, erasure_id, person)
                _remove(connection, settings, erasure_id, person, say)
                say("Searching all places again")
                left = sum(count_rows(connection, all_places(connection, settings), person).values())
                if left == 0:
                    break
        if left:
            raise UserError(f"{left} rows of the person were inserted again during the erasure.", "Repeat the command.")
        removed = _finish(connection, erasure_id)
    return Erasure(
        erasure_id, site_id, sorted(person.visitor_ids), False, removed, left, _since(started),
        backups.list_backups(settings),
    )  # fmt: skip


def resume(url: str, settings: Settings) -> list[Erasure]:
    """Finish interrupted erasures."""
    with session(url) as connection:
        waiting = connection.execute(
            "select site_id, person from ops.erasures where finished_at is null order by requested_at"
        ).fetchall()
    return [erase_person(url, settings, Person.from_json(site_id, person)) for site_id, person in waiting]


def unfinished(connection: psycopg.Connection, known: Person) -> tuple[UUID, Person] | None:
    """Return the oldest interrupted erasure that shares a visitor ID or an identity with this person."""
    row = connection.execute(
        """
        select erasure_id, person from ops.erasures
        where
            finished_at is null and site_id = %s
            and (
                person -> 'visitor_ids' ?| %s
                or exists (
                    select from jsonb_array_elements(person -> 'identities') as said (identity)
                    where said.identity = any(%s::jsonb[])
                )
            )
        order by requested_at limit 1
        """,
        [known.site_id, sorted(known.visitor_ids), [Jsonb(pair) for pair in known.identities]],
    ).fetchone()
    return None if row is None else (row[0], Person.from_json(known.site_id, row[1]))


def _begin(connection: psycopg.Connection, known: Person) -> tuple[UUID, Person]:
    """Record a new erasure, or continue an interrupted one, and add the person's IDs to the list."""
    with connection.transaction():
        begun = unfinished(connection, known)
        person = find_person(connection, known if begun is None else begun[1] | known)
        if begun is not None:
            erasure_id = begun[0]
        else:
            row = connection.execute(
                "insert into ops.erasures (site_id, person) values (%s, %s) returning erasure_id",
                [person.site_id, person.as_json()],
            ).fetchone()
            assert row is not None
            erasure_id = row[0]
        erased_visitors.enlist(connection, person)
        return erasure_id, person


def _find_more(connection: psycopg.Connection, erasure_id: UUID, person: Person) -> Person:
    """Search again for IDs that lead to the person's rows, and add them to those already known."""
    with connection.transaction():
        found = find_person(connection, person)
        erased_visitors.enlist(connection, found)
        connection.execute("update ops.erasures set person = %s where erasure_id = %s", [found.as_json(), erasure_id])
    return found


def _remove(connection: psycopg.Connection, settings: Settings, erasure_id: UUID, person: Person, say: Say) -> None:
    for place in (*event_places(), *record_places()):
        say(f"Removing from {place.name}")
        with connection.transaction():
            _note(connection, erasure_id, place.erase(connection, person))
    for place in (ColdFiles(settings.cold_storage), SpoolFile(settings)):
        say(f"Removing from {place.name}")
        _note(connection, erasure_id, place.erase(connection, person))
    say("Waiting for a build of the models to end")
    with locks.held(connection, locks.BUILD_LOCK):
        with connection.transaction():
            note_joined(connection, person)
        for place in model_places(connection):
            say(f"Removing from {place.name}")
            with connection.transaction():
                _note(connection, erasure_id, place.erase(connection, person))


def _note(connection: psycopg.Connection, erasure_id: UUID, removed: dict[str, int]) -> None:
    """Add row counts to `ops.erasures`, in the transaction that erased the rows."""
    row = connection.execute(
        "select removed from ops.erasures where erasure_id = %s for update", [erasure_id]
    ).fetchone()
    assert row is not None
    total: dict[str, int] = row[0]
    for name, count in removed.items():
        total[name] = total.get(name, 0) + count
    connection.execute("update ops.erasures set removed = %s where erasure_id = %s", [Jsonb(total), erasure_id])


def _finish(connection: psycopg.Connection, erasure_id: UUID) -> dict[str, int]:
    """Delete the person's IDs from `ops.erasures`, keep the row counts, and return them."""
    row = connection.execute(
        "update ops.erasures set finished_at = now(), person = null where erasure_id = %s returning removed",
        [erasure_id],
    ).fetchone()
    assert row is not None
    return row[0]


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
