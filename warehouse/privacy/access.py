"""Access to all places that may hold a person's data, for searching, exporting and erasing."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import psycopg

from warehouse.kit.database import connect
from warehouse.kit.settings import Settings
from warehouse.privacy.files import ColdFiles, SpoolFile
from warehouse.privacy.person import Person
from warehouse.privacy.places import Place, event_places, model_places, record_places


@contextmanager
def session(url: str) -> Generator[psycopg.Connection]:
    """Connect with sequential scans disabled, so that queries use an index wherever one exists."""
    with connect(url, application="tilda-privacy") as connection:
        connection.execute("set enable_seqscan = off")
        yield connection


def all_places(connection: psycopg.Connection, settings: Settings) -> list[Place]:
    """Return all places that may hold a person's data, in the order of erasure."""
    return [
        *event_places(),
        ColdFiles(settings.cold_storage),
        SpoolFile(settings),
        *record_places(),
        *model_places(connection),
    ]


def count_rows(connection: psycopg.Connection, places: Sequence[Place], person: Person) -> dict[str, int]:
    """Count the rows of a person by place."""
    counted: dict[str, int] = {}
    for place in places:
        with connection.transaction():
            counted[place.name] = place.count(connection, person)
    return counted
