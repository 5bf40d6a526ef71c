"""Forgetting a person, everywhere: the list first, so that nothing new comes; then every place; then the proof.

Each step is committed by itself and can be taken again. What leads to the person's rows is kept in `ops.erasures` until
the end, since the rows that would tell go first: an erasure that was killed goes on when it is asked for again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from warehouse.archive.runs import only_one
from warehouse.backup import backups
from warehouse.backup.backups import Backup
from warehouse.kit import locks
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.privacy import erased
from warehouse.privacy.files import ColdFiles, SpoolFile
from warehouse.privacy.person import Person, find_person
from warehouse.privacy.places import Place, event_places, model_places, note_joined, record_places

ROUNDS = 3
"""What somebody writes by hand meanwhile is found by the search at the end, and removed in another round."""
ERASE_LOCK = "tilda.erase"
"""One erasure at a time: two of one person would do the work twice."""
BUILD_LOCK = "tilda.dbt"
"""What a build of the models holds. One that began before the person was erased would bring them back."""

Say = Callable[[str], None]


class UnknownSiteError(UserError):
    """There is no site of this id."""


def silent(_text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Erasure:
    """What an erasure did, or with `dry_run` would do.

    Attributes:
        visitor_ids: The ids that were found to be this person's.
        removed: Rows, events or files' rows by place. Places where nothing was are named with 0.
        left: What a search of every place found afterwards: 0.
        backups: Backups that hold the person until they expire.
    """

    erasure_id: UUID | None
    site_id: str
    visitor_ids: list[str]
    dry_run: bool
    removed: dict[str, int]
    left: int
    seconds: float
    backups: list[Backup] = field(default_factory=list[Backup])


def erase(
    url: str, settings: Settings, site_id: str, user_id: str, *, dry_run: bool = False, say: Say = silent
) -> Erasure:
    """Erase the person with one visitor id, as `erase_person` does."""
    return erase_person(url, settings, Person(site_id, frozenset({user_id})), dry_run=dry_run, say=say)


def erase_person(url: str, settings: Settings, known: Person, *, dry_run: bool = False, say: Say = silent) -> Erasure:
    """Remove everything that is held about a person, and see that nothing is left.

    Args:
        url: An address of the database past a pooler, of the owner or of the login `tilda_privacy`.
        settings: Where spool, cold files and backups are.
        known: What is known of the person: a visitor id at least, or an identity. The rest is found.
        dry_run: Count, and change nothing.
        say: Told what is being done.

    Raises:
        UserError: There is no such site, a place cannot be reached, or something was left. Run again, it goes on.
    """
    started = time.monotonic()
    site_id = known.site_id
    with session(url) as connection, locks.held(connection, ERASE_LOCK):
        require_site(connection, site_id)
        say("Looking for the person")
        if dry_run:
            person = find_person(connection, known)
            counted = count_rows(connection, all_places(connection, settings), person)
            return Erasure(None, site_id, sorted(person.visitor_ids), True, counted, 0, _since(started))
        erasure_id, person = _begin(connection, known)
        say("Waiting for events under way")
        erased.wait_for_writers(connection)
        left = 1
        with only_one(connection):  # months stay where they are
            for _ in range(ROUNDS):
                person = _learn(connection, erasure_id, person)
                _remove(connection, settings, erasure_id, person, say)
                say("Searching every place for what is left")
                left = sum(count_rows(connection, all_places(connection, settings), person).values())
                if left == 0:
                    break
        if left:
            raise UserError(
                f"{left} rows of the person came back while they were removed.", "Run the same command again."
            )
        removed = _finish(connection, erasure_id)
    return Erasure(
        erasure_id, site_id, sorted(person.visitor_ids), False, removed, left, _since(started),
        backups.list_backups(settings),
    )  # fmt: skip


def resume(url: str, settings: Settings) -> list[Erasure]:
    """Finish the erasures that were cut short."""
    with session(url) as connection:
        waiting = connection.execute(
            "select site_id, person from ops.erasures where finished_at is null order by requested_at"
        ).fetchall()
    return [erase_person(url, settings, Person.from_json(site_id, person)) for site_id, person in waiting]


def all_places(connection: psycopg.Connection, settings: Settings) -> list[Place]:
    """Every place that may hold a person, in the order in which they are erased."""
    return [
        *event_places(),
        ColdFiles(settings.cold_storage),
        SpoolFile(settings),
        *record_places(),
        *model_places(connection),
    ]


def require_site(connection: psycopg.Connection, site_id: str) -> None:
    """Refuse a site that does not exist.

    Raises:
        UnknownSiteError: There is none of this id.
    """
    if connection.execute("select from public.sites where site_id = %s", [site_id]).fetchone() is None:
        raise UnknownSiteError(f"There is no site {site_id!r}.", "`tilda site list` shows those that exist.")


def unfinished(connection: psycopg.Connection, known: Person) -> tuple[UUID, Person] | None:
    """The oldest erasure of this person that was cut short: one that shares a visitor id or an identity."""
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
    """Note the erasure, or take up the one that was cut short, and list the person's ids."""
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
        erased.enlist(connection, person)
        return erasure_id, person


def _learn(connection: psycopg.Connection, erasure_id: UUID, person: Person) -> Person:
    """What leads to the person now, in addition to what did before."""
    with connection.transaction():
        found = find_person(connection, person)
        erased.enlist(connection, found)
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
    with locks.held(connection, BUILD_LOCK):
        with connection.transaction():
            note_joined(connection, person)
        for place in model_places(connection):
            say(f"Removing from {place.name}")
            with connection.transaction():
                _note(connection, erasure_id, place.erase(connection, person))


def _note(connection: psycopg.Connection, erasure_id: UUID, removed: dict[str, int]) -> None:
    """Add to the account of the erasure, in the transaction that removed."""
    row = connection.execute(
        "select removed from ops.erasures where erasure_id = %s for update", [erasure_id]
    ).fetchone()
    assert row is not None
    total: dict[str, int] = row[0]
    for name, count in removed.items():
        total[name] = total.get(name, 0) + count
    connection.execute("update ops.erasures set removed = %s where erasure_id = %s", [Jsonb(total), erasure_id])


def _finish(connection: psycopg.Connection, erasure_id: UUID) -> dict[str, int]:
    """Forget whom it was about; the account stays."""
    row = connection.execute(
        "update ops.erasures set finished_at = now(), person = null where erasure_id = %s returning removed",
        [erasure_id],
    ).fetchone()
    assert row is not None
    return row[0]


def count_rows(connection: psycopg.Connection, places: Sequence[Place], person: Person) -> dict[str, int]:
    """How many rows of a person each place holds."""
    counted: Counter[str] = Counter()
    for place in places:
        with connection.transaction():
            counted[place.name] = place.count(connection, person)
    return dict(counted)


@contextmanager
def session(url: str) -> Generator[psycopg.Connection]:
    """A connection that takes an index wherever there is one, whatever the statistics say."""
    with connect(url, application="tilda-privacy") as connection:
        connection.execute("set enable_seqscan = off")
        yield connection


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
