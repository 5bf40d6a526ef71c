"""A person outside the database: in the Parquet files of cold months, and on the spool of the ingest API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute

from warehouse.archive import cold
from warehouse.archive.checksum import uuid_texts
from warehouse.errors import UserError
from warehouse.events.spool import FILE_NAME, Spool, SpoolError
from warehouse.privacy.person import SQL_DIR, Person
from warehouse.queries import read_query
from warehouse.settings import Settings

pc: Any = pyarrow.compute
"""Its functions are made at run time, which type checkers do not see."""


@dataclass(frozen=True)
class ColdFiles:
    """The files of cold months. A file that held the person is replaced by one without, verified, and deleted.

    Attributes:
        folder: fsspec URL of the folder for new files.
    """

    folder: str
    name: str = field(default="cold files", init=False)

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """How many events of the person the files hold."""
        person = _with_sessions_of_files(connection, person)
        return sum(_count(file, person) for file in cold.list_files(connection))

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:
        """The events, oldest first."""
        person = _with_sessions_of_files(connection, person)
        for file in cold.list_files(connection):
            for batch in cold.read(file):
                found = batch.filter(_belongs(batch, person))
                if found.num_rows:
                    yield from _readable(found).to_pylist()

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:
        """Rewrite the files that hold the person, and delete the old ones. Returns the events that are gone."""
        person = _with_sessions_of_files(connection, person)

        def keep(batch: pa.RecordBatch) -> pa.BooleanArray:
            theirs = _belongs(batch, person)
            found = batch.filter(theirs)
            if found.num_rows:
                # before the file is replaced: a kill in between must not leave the days as they were
                moments = [*found.column("created_at").to_pylist(), *found.column("received_at").to_pylist()]
                connection.execute(read_query(SQL_DIR, "days_to_rebuild"), {"site": person.site_id, "moments": moments})
            return pc.invert(theirs)

        # looking for the person is many times faster than the checksums with which a file is replaced
        found = [file for file in cold.list_files(connection) if _count(file, person)]
        gone = sum(cold.rewrite(connection, file, self.folder, keep) for file in found)
        cold.sweep(connection)
        return {self.name: gone}


@dataclass(frozen=True)
class SpoolFile:
    """Events that wait on this machine while Postgres is away."""

    settings: Settings
    name: str = field(default="spool", init=False)

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """How many events of the person wait."""
        return sum(1 for _ in self.read(connection, person))

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:  # noqa: ARG002 - as every place
        """The events that wait."""
        with self._open() as spool:
            for visitor_id in sorted(person.visitor_ids) if spool else ():
                assert spool is not None
                yield from spool.of_visitor(person.site_id, visitor_id)

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:  # noqa: ARG002 - as every place
        """Remove the events; the space is overwritten."""
        with self._open() as spool:
            gone = sum(spool.erase(person.site_id, visitor_id) for visitor_id in person.visitor_ids) if spool else 0
        return {self.name: gone}

    @contextmanager
    def _open(self) -> Generator[Spool | None]:
        """The spool; None if nothing ever had to wait."""
        folder = self.settings.spool_folder
        if not (folder / FILE_NAME).exists():
            yield None
            return
        try:
            spool = Spool(folder, self.settings.spool_max_bytes)
            try:
                yield spool
            finally:
                spool.close()
        except SpoolError as error:
            raise UserError(f"The spool cannot be read: {error}.", f"Check the folder {folder}.") from error


def _count(file: cold.ColdFile, person: Person) -> int:
    return sum(pc.sum(_belongs(batch, person)).as_py() or 0 for batch in cold.read(file))


def _belongs(batch: pa.RecordBatch, person: Person) -> pa.BooleanArray:
    """Whether each row is an event of the person: the rule of `sql/archived_events.sql`."""
    users = batch.column("user_id").cast(pa.string())
    on_site = pc.equal(batch.column("site_id").cast(pa.string()), person.site_id)
    named = pc.is_in(users, value_set=pa.array(person.values["ids"], pa.string()))
    unnamed = pc.is_null(users)
    theirs = pc.or_(
        _is_one_of(batch.column("session_id"), person.own_sessions),
        _is_one_of(batch.column("event_id"), frozenset(person.values["anonymous"])),
    )
    if person.identities:
        payload = batch.column("payload").cast(pa.string())
        for key, value in person.identities:
            # as Postgres writes jsonb; both come from there
            text = f'"{key}": {json.dumps(value, ensure_ascii=False)}'
            theirs = pc.or_(theirs, pc.match_substring(payload, text))
    return pc.fill_null(pc.and_(on_site, pc.or_(named, pc.and_(unnamed, theirs))), False)


def _with_sessions_of_files(connection: psycopg.Connection, person: Person) -> Person:
    """The person with the sessions that only the files name: retention deletes old rows of `public.sessions`.

    As there, a session is the person's if its first event with a visitor id has one of the person's. Events of the
    session without an id are the person's, too.
    """
    known = person.own_sessions | person.shared_sessions
    unknown: set[uuid.UUID] = set()
    for file in cold.list_files(connection):
        for batch in cold.read(file, ["site_id", "user_id", "session_id"]):
            users = batch.column("user_id").cast(pa.string())
            named = pc.is_in(users, value_set=pa.array(person.values["ids"], pa.string()))
            on_site = pc.equal(batch.column("site_id").cast(pa.string()), person.site_id)
            theirs = batch.filter(pc.fill_null(pc.and_(on_site, named), False)).column("session_id")
            unknown |= {one for one in theirs.to_pylist() if one is not None and str(one) not in known}
    if not unknown:
        return person
    first: dict[uuid.UUID, tuple[datetime, str]] = {}
    sessions = frozenset(map(str, unknown))
    for file in cold.list_files(connection):
        for batch in cold.read(file, ["site_id", "user_id", "session_id", "created_at"]):
            on_site = pc.equal(batch.column("site_id").cast(pa.string()), person.site_id)
            in_session = _is_one_of(batch.column("session_id"), sessions)
            for row in batch.filter(pc.fill_null(pc.and_(on_site, in_session), False)).to_pylist():
                if row["user_id"] is not None:
                    seen = (row["created_at"], row["user_id"])
                    first[row["session_id"]] = min(first.get(row["session_id"], seen), seen)
    own = frozenset(str(session) for session, (_, user) in first.items() if user in person.values["ids"])
    return person | Person(person.site_id, frozenset(), own_sessions=own)


def _is_one_of(column: pa.Array, wanted: frozenset[str]) -> pa.BooleanArray:
    raw = column.storage if isinstance(column.type, pa.UuidType) else column
    values = [uuid.UUID(one).bytes for one in sorted(wanted)]
    return pc.is_in(raw, value_set=pa.array(values, pa.binary(16)))


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """UUIDs as text, times as RFC 3339."""
    columns = [
        uuid_texts(column.storage) if isinstance(column.type, pa.UuidType)
        else pc.strftime(column, format="%Y-%m-%dT%H:%M:%S%z") if pa.types.is_timestamp(column.type)
        else column
        for column in batch.columns
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
