"""Places outside the database: the Parquet files of cold months, and the spool of the ingest API."""

from __future__ import annotations

import functools
import json
import re
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
import pyarrow.compute

from warehouse.archive import cold
from warehouse.archive.checksum import uuid_texts
from warehouse.events.schema import Row
from warehouse.events.spool import FILE_NAME, Spool, SpoolError
from warehouse.kit.errors import UserError
from warehouse.kit.queries import read_query
from warehouse.kit.settings import Settings
from warehouse.privacy.identifier import contains
from warehouse.privacy.person import SQL_DIR, Person

pc: Any = pyarrow.compute
"""Functions are created at run time, so type checkers do not know them."""


@dataclass(frozen=True)
class ColdFiles:
    """The files of cold months. Erasure replaces a file with a verified file without the person.

    Attributes:
        folder: fsspec URL of the folder for new files.
    """

    folder: str
    name: str = field(default="cold files", init=False)

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """Count the person's events in the files."""
        person = _with_sessions_of_files(connection, person)
        return sum(_count(file, person) for file in cold.list_files(connection))

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:
        """Yield the person's events, oldest first."""
        for _, event in self.read_each(connection, [person]):
            yield event

    def read_each(
        self, connection: psycopg.Connection, people: Sequence[Person]
    ) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Yield the events of several persons in one pass, oldest first, with their persons' indexes in `people`."""
        people = [_with_sessions_of_files(connection, person) for person in people]
        for file in cold.list_files(connection):
            for batch in cold.read(file):
                theirs = [_belongs(batch, person) for person in people]
                wanted = functools.reduce(pc.or_, theirs)
                found = batch.filter(wanted)
                if found.num_rows:
                    owners = zip(*(one.filter(wanted).to_pylist() for one in theirs), strict=True)
                    for owned, event in zip(owners, _readable(found).to_pylist(), strict=True):
                        yield [place for place, is_theirs in enumerate(owned) if is_theirs], event

    def containing(
        self, connection: psycopg.Connection, site_id: str, fragments: Sequence[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Yield the events of a site whose payload contains one of these fragments, oldest first."""
        # a fast regular expression finds candidates, which are then parsed and compared exactly
        pattern = "|".join(re.escape(text) for text in dict.fromkeys(_text_of_leaf(one) for one in fragments))
        for file in cold.list_files(connection):
            for batch in cold.read(file):
                found = batch.filter(
                    pc.and_(
                        pc.equal(batch.column("site_id").cast(pa.string()), site_id),
                        pc.match_substring_regex(batch.column("payload").cast(pa.string()), pattern),
                    )
                )
                if found.num_rows:
                    for event in _readable(found).to_pylist():
                        payload = json.loads(event["payload"])
                        if any(contains(payload, one) for one in fragments):
                            yield event

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:
        """Rewrite the files that contain the person, and delete the old files. Return the number of erased events."""
        person = _with_sessions_of_files(connection, person)

        def keep(batch: pa.RecordBatch) -> pa.BooleanArray:
            theirs = _belongs(batch, person)
            found = batch.filter(theirs)
            if found.num_rows:
                # before the file is replaced, so that a kill in between cannot lose the rebuild
                moments = [*found.column("created_at").to_pylist(), *found.column("received_at").to_pylist()]
                connection.execute(read_query(SQL_DIR, "days_to_rebuild"), {"site": person.site_id, "moments": moments})
            return pc.invert(theirs)

        # searching is many times faster than rewriting, which computes checksums
        found = [file for file in cold.list_files(connection) if _count(file, person)]
        gone = sum(cold.rewrite(connection, file, self.folder, keep) for file in found)
        cold.sweep(connection)
        return {self.name: gone}


@dataclass(frozen=True)
class SpoolFile:
    """The spool: events on this machine's disk that wait until Postgres is available."""

    settings: Settings
    name: str = field(default="spool", init=False)

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """Count the person's events on the spool."""
        return sum(1 for _ in self.read(connection, person))

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:  # noqa: ARG002 - required by Place
        """Yield the person's events, oldest first."""
        with self._open() as spool:
            for _, row in _rows_of(spool, person):
                yield msgspec.to_builtins(row)

    def containing(self, site_id: str, fragments: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the events of a site whose payload contains one of these fragments, oldest first."""
        with self._open() as spool:
            for _, row in spool.of_site(site_id) if spool else ():
                if any(contains(row.payload, one) for one in fragments):
                    yield msgspec.to_builtins(row)

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:  # noqa: ARG002 - required by Place
        """Delete the person's events and overwrite their space on disk."""
        with self._open() as spool:
            gone = spool.remove([number for number, _ in _rows_of(spool, person)]) if spool else 0
        return {self.name: gone}

    @contextmanager
    def _open(self) -> Generator[Spool | None]:
        """Open the spool; yield None if there is no spool file."""
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


def _rows_of(spool: Spool | None, person: Person) -> Iterator[tuple[int, Row]]:
    """Yield a person's rows on the spool with their numbers, by the rule of `sql/live_events.sql`."""
    identities = [{"identity": {name: value}} for name, value in person.identities]
    anonymous = frozenset(person.values["anonymous"])
    for number, row in spool.of_site(person.site_id) if spool else ():
        if row.user_id is not None:
            is_theirs = row.user_id in person.visitor_ids
        else:
            is_theirs = (
                str(row.session_id) in person.own_sessions
                or str(row.event_id) in anonymous
                or any(contains(row.payload, one) for one in identities)
            )
        if is_theirs:
            yield number, row


def _text_of_leaf(fragment: Any) -> str:  # noqa: ANN401 - any JSON
    """Return the innermost member of a fragment in the text form of jsonb."""
    ((name, value),) = fragment.items()
    if isinstance(value, dict):
        return _text_of_leaf(value)
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"


def _count(file: cold.ColdFile, person: Person) -> int:
    return sum(pc.sum(_belongs(batch, person)).as_py() or 0 for batch in cold.read(file))


def _belongs(batch: pa.RecordBatch, person: Person) -> pa.BooleanArray:
    """Return for each row whether it is the person's event, by the rule of `sql/archived_events.sql`."""
    users = batch.column("user_id").cast(pa.string())
    on_site = pc.equal(batch.column("site_id").cast(pa.string()), person.site_id)
    named = pc.is_in(users, value_set=pa.array(person.values["ids"], pa.string()))
    unnamed = pc.is_null(users)
    theirs = pc.or_(
        _is_one_of(batch.column("session_id"), person.own_sessions),
        _is_one_of(batch.column("event_id"), frozenset(person.values["anonymous"])),
    )
    if person.identities:
        texts = sorted(re.escape(_text_of_leaf({name: value})) for name, value in person.identities)
        # a comma or brace must follow, so that a number does not match the start of a longer number
        pattern = f"({'|'.join(texts)})[,}}]"
        theirs = pc.or_(theirs, pc.match_substring_regex(batch.column("payload").cast(pa.string()), pattern))
    return pc.fill_null(pc.and_(on_site, pc.or_(named, pc.and_(unnamed, theirs))), False)


def _with_sessions_of_files(connection: psycopg.Connection, person: Person) -> Person:
    """Add sessions that only the files contain, because retention deletes old rows of `public.sessions`.

    As in `public.sessions`, a session belongs to the person if its first event with a visitor ID has one of the
    person's IDs. Those events of the session that have no visitor ID then also belong to the person.
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
    """Convert UUIDs to text and times to RFC 3339."""
    columns = [
        uuid_texts(column.storage) if isinstance(column.type, pa.UuidType)
        else pc.strftime(column, format="%Y-%m-%dT%H:%M:%S%z") if pa.types.is_timestamp(column.type)
        else column
        for column in batch.columns
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
