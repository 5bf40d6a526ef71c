"""Events on the local disk while Postgres is away: a SQLite file in which every append is fsynced.

Several processes share one file: SQLite's locks order their appends, and its log makes each append whole or absent
after a kill or a torn write. One row an event, so that a person can be erased from it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from warehouse.events.schema import Row

FILE_NAME = "spool.sqlite"
LOCK_NAME = "replay.lock"
BUSY_SECONDS = 10
READ_AT_ONCE = 1_000
"""Rows that `of_site` holds in memory."""

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
    domains text not null
) without rowid;
"""

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Row).decode


class SpoolError(Exception):
    """The spool cannot take or give rows: it is full, or the disk fails. Nothing of the call was kept."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What waits: `rows` (an upper bound, exact unless somebody was erased) and the bytes in use on disk."""

    rows: int
    size: int


class Spool:
    """The spool of one folder. Use an object from one thread at a time; processes share the folder freely.

    Args:
        folder: Where the files are; made when it is missing, readable by its owner only.
        max_bytes: The bound of the file. Appends beyond it raise SpoolError.
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
            # No SQLite file any more: what can be saved from it is for a person to find out; events go on.
            aside = path.with_suffix(f".damaged-{time.time_ns()}")
            _log.error("the spool is damaged and set aside", extra={"file": str(aside)})
            path.rename(aside)
            for companion in ("-wal", "-shm"):
                path.with_name(path.name + companion).unlink(missing_ok=True)
            self._db = _open(path, max_bytes)

    def append(self, rows: Sequence[Row]) -> None:
        """Keep rows, in order; durable on return.

        Raises:
            SpoolError: The bound is reached or the disk fails; no row was kept.
        """
        with self._transaction():
            self._db.executemany(
                "insert into events (site_id, user_id, body) values (?, ?, ?)",
                ((row.site_id, row.user_id, _encode(row)) for row in rows),
            )

    def oldest(self, most: int) -> list[tuple[int, Row]]:
        """The rows that have waited longest, each with its number."""
        with _translated():
            found = self._db.execute("select id, body from events order by id limit ?", [most]).fetchall()
        return [(number, _decode(body)) for number, body in found]

    def remove_until(self, number: int) -> None:
        """Forget rows that were landed: the oldest ones, up to this number."""
        with self._transaction():
            self._db.execute("delete from events where id <= ?", [number])

    def shrink(self) -> None:
        """Give the space of removed rows back to the disk."""
        with _translated():
            self._db.executescript("pragma incremental_vacuum")  # execute() would free one page only
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def depth(self) -> Depth:
        """How much waits; cheap however much it is."""
        with _translated():
            # each in a query of its own: SQLite finds one end of an index at once, and reads it all to find both
            (rows,) = self._db.execute(
                "select coalesce((select max(id) from events) - (select min(id) from events) + 1, 0)"
            ).fetchone()
            pages, free, page_size = (
                self._db.execute(f"pragma {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return Depth(rows, (pages - free) * page_size if rows else 0)

    def keep_sites(self, sites: Sequence[tuple[str, str, Sequence[str]]]) -> None:
        """Replace the kept list of sites (public key, id, domains): their keys are known without Postgres."""
        with self._transaction():
            self._db.execute("delete from sites")
            self._db.executemany(
                "insert into sites values (?, ?, ?)",
                ((key, site_id, " ".join(domains)) for key, site_id, domains in sites),
            )

    def kept_sites(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """The kept list of sites: public key, id, domains."""
        with _translated():
            found = self._db.execute("select public_key, site_id, domains from sites order by site_id").fetchall()
        return [(key, site_id, tuple(domains.split())) for key, site_id, domains in found]

    def of_site(self, site_id: str) -> Iterator[tuple[int, Row]]:
        """A site's rows, oldest first, each with its number."""
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
        """Remove rows by their numbers; returns how many there were. The freed space is overwritten."""
        with self._transaction():
            removed = self._db.executemany("delete from events where id = ?", [(one,) for one in numbers]).rowcount
        self.shrink()
        return removed

    @contextmanager
    def replaying(self) -> Generator[bool]:
        """Hold the right to replay, which one process has at a time; False when another has it."""
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
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # its companions get the same mode
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
