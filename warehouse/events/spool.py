"""The spool: events on the local disk while Postgres is unreachable, in a SQLite file that is fsynced at each append.

Several processes share one file: SQLite's locks serialize their appends, and its write-ahead log makes each append
atomic. Each event is one row, so that a person's events can be erased.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from warehouse.events.schema import Row

FILE_NAME = "spool.sqlite"
LOCK_NAME = "replay.lock"
BUSY_SECONDS = 10
READ_AT_ONCE = 1_000
"""Rows that `of_site` reads at once."""

_SCHEMA = """
create table if not exists events (
    id integer primary key autoincrement,
    site_id text not null,
    user_id text,
    body blob not null
);
create table if not exists sites (
    public_key text primary key,
    site_id text not null,
    domains text not null,
    collector text not null default '{}'
) without rowid;
"""

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Row).decode


class SpoolError(Exception):
    """The spool is full or its disk fails. The call changed nothing."""


@dataclass(frozen=True, slots=True)
class Depth:
    """Size of the spool.

    Attributes:
        rows: Number of rows; too high if a person's rows were erased, else exact.
        size: Bytes in use on disk.
    """

    rows: int
    size: int


class KnownSite(NamedTuple):
    """A site in the saved list of sites.

    Attributes:
        public_key: The key in requests.
        site_id: The site.
        domains: Host names.
        collector: Settings of the collector as JSON, in the form of `public.sites.collector`.
    """

    public_key: str
    site_id: str
    domains: tuple[str, ...]
    collector: dict[str, Any]


class Spool:
    """The spool in one folder. Use an object from one thread at a time. Several processes may share the folder.

    Args:
        folder: Folder of the files; created if missing, readable only by its owner.
        max_bytes: Maximum size of the file. An append beyond it raises SpoolError.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / FILE_NAME
        try:
            self._db = _open(path, max_bytes)
        except sqlite3.OperationalError as error:
            raise SpoolError(f"{path}: {error}") from error
        except sqlite3.DatabaseError:
            # The file is damaged. Keep it for manual recovery and start a new one, so that events are not lost.
            aside = path.with_suffix(f".damaged-{time.time_ns()}")
            _log.error("the spool is damaged and set aside", extra={"file": str(aside)})
            path.rename(aside)
            for companion in ("-wal", "-shm"):
                path.with_name(path.name + companion).unlink(missing_ok=True)
            self._db = _open(path, max_bytes)

    def append(self, rows: Sequence[Row]) -> None:
        """Append rows; they are durable on return.

        Raises:
            SpoolError: The spool is full or its disk fails; no row was appended.
        """
        with self._transaction():
            self._db.executemany(
                "insert into events (site_id, user_id, body) values (?, ?, ?)",
                ((row.site_id, row.user_id, _encode(row)) for row in rows),
            )

    def oldest(self, most: int) -> list[tuple[int, Row]]:
        """Return the oldest rows, at most `most`, each with its number."""
        with _translated():
            found = self._db.execute("select id, body from events order by id limit ?", [most]).fetchall()
        return [(number, _decode(body)) for number, body in found]

    def remove_until(self, number: int) -> None:
        """Remove the oldest rows, up to and including this number."""
        with self._transaction():
            self._db.execute("delete from events where id <= ?", [number])

    def shrink(self) -> None:
        """Release the disk space of removed rows."""
        with _translated():
            self._db.executescript("pragma incremental_vacuum")  # execute() would free one page only
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def depth(self) -> Depth:
        """Measure the spool; the cost does not depend on its size."""
        with _translated():
            # Two subqueries: SQLite looks up min or max alone in the index, but scans the index for both in one query.
            (rows,) = self._db.execute(
                "select coalesce((select max(id) from events) - (select min(id) from events) + 1, 0)"
            ).fetchone()
            pages, free, page_size = (
                self._db.execute(f"pragma {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return Depth(rows, (pages - free) * page_size if rows else 0)

    def keep_sites(self, sites: Sequence[KnownSite]) -> None:
        """Replace the saved list of sites, which is needed for a start without Postgres."""
        with self._transaction():
            self._db.execute("delete from sites")
            self._db.executemany(
                "insert into sites (public_key, site_id, domains, collector) values (?, ?, ?, ?)",
                ((site.public_key, site.site_id, " ".join(site.domains), json.dumps(site.collector)) for site in sites),
            )

    def kept_sites(self) -> list[KnownSite]:
        """Return the saved list of sites, ordered by ID."""
        with _translated():
            found = self._db.execute(
                "select public_key, site_id, domains, collector from sites order by site_id"
            ).fetchall()
        return [
            KnownSite(key, site_id, tuple(domains.split()), json.loads(collector))
            for key, site_id, domains, collector in found
        ]

    def of_site(self, site_id: str) -> Iterator[tuple[int, Row]]:
        """Yield a site's rows, oldest first, each with its number."""
        newest = 0
        while True:
            with _translated():
                found = self._db.execute(
                    "select id, body from events where id > ? and site_id = ? order by id limit ?",
                    [newest, site_id, READ_AT_ONCE],
                ).fetchall()
            for newest, body in found:
                yield newest, _decode(body)
            if not found:
                return

    def remove(self, numbers: Sequence[int]) -> int:
        """Remove rows by their numbers and overwrite their space on disk; return the number of removed rows."""
        with self._transaction():
            removed = self._db.executemany("delete from events where id = ?", [(one,) for one in numbers]).rowcount
        self.shrink()
        return removed

    @contextmanager
    def replaying(self) -> Generator[bool]:
        """Hold the lock for replaying, which one process has at a time; yield False if another process holds it."""
        with (self._folder / LOCK_NAME).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with _translated():
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise


def _open(path: Path, max_bytes: int) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives the -wal and -shm files the same mode
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("pragma auto_vacuum = incremental")
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = full")
        database.execute("pragma secure_delete = on")
        database.execute("pragma journal_size_limit = 67108864")
        (page_size,) = database.execute("pragma page_size").fetchone()
        database.execute(f"pragma max_page_count = {max(max_bytes // page_size, 16)}")
        database.executescript(_SCHEMA)
        if not database.execute("select 1 from pragma_table_info('sites') where name = 'collector'").fetchone():
            # the file was created by an earlier release
            database.execute("alter table sites add column collector text not null default '{}'")
    except sqlite3.Error:
        database.close()
        raise
    return database


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolError(str(error)) from error
