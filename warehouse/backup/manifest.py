"""The manifest of a backup: row counts and checksums of every table, to verify a restored copy."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import LiteralString, Self

import psycopg
from psycopg import sql

from warehouse.kit.errors import UserError
from warehouse.kit.progress import Progress

FILE_NAME = "manifest.json"


@dataclass(frozen=True)
class Content:
    """A table's row count, and a checksum of its rows that does not depend on their order."""

    rows: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """The expected content of a restored copy.

    Attributes:
        taken_at: Time of the snapshot.
        tables: Content by table; each partition is a table.
        sequences: Last value by sequence; None if the sequence was not used yet.
        left_out: Schemas of other roles, such as Supabase's `auth`, which are not in the backup.
    """

    taken_at: datetime
    tables: dict[str, Content]
    sequences: dict[str, int | None]
    left_out: Sequence[str] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a backup.

        Raises:
            UserError: The manifest is missing or damaged.
        """
        try:
            stored = json.loads((folder / FILE_NAME).read_text())
            return cls(
                datetime.fromisoformat(stored["taken_at"]),
                {name: Content(**content) for name, content in stored["tables"].items()},
                stored["sequences"],
                stored.get("left_out", ()),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"The manifest of {folder} cannot be read.", "Take another backup.") from error

    def write(self, folder: Path) -> None:
        """Write the manifest durably to a backup's folder. A folder without a manifest is not a backup."""
        with (folder / FILE_NAME).open("w") as file:
            json.dump(asdict(self), file, default=str, indent=1)
            file.flush()
            os.fsync(file.fileno())


class Steps:
    """Reports the progress of pg_dump, pg_restore and the comparison, table by table."""

    def __init__(self, progress: Progress, weights: dict[str, int], passes: int) -> None:
        self._progress = progress
        self._weights = weights
        self._unseen = list(weights)
        self._total = float(sum(weights.values()) * passes)
        self._done = 0.0

    def finish(self, table: str) -> None:
        """Count a table as finished in one pass."""
        self._done += self._weights.get(table, 0)
        self._progress(self._done, self._total)

    def finish_unqualified(self, name: str) -> None:
        """Count a table by its name without a schema, as pg_dump prints it: the next unfinished table of this name."""
        table = next((one for one in self._unseen if one.partition(".")[2] == name), None)
        if table is not None:
            self._unseen.remove(table)
            self.finish(table)


_TABLES: LiteralString = """
    select format('%s.%s', n.nspname, c.relname), pg_table_size(c.oid)
    from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    where
        c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        -- after an upgrade from Postgres 14 the superuser still owns the schema public
        and (n.nspname = 'public' or pg_has_role(n.nspowner, 'usage'))
        and not exists (
            select from pg_depend as d
            where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
        )
    order by 1
"""


def foreign_schemas(connection: psycopg.Connection) -> list[str]:
    """Return schemas of other roles, such as Supabase's `auth`, which are excluded from backups."""
    rows = connection.execute(
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')"
        " and not pg_has_role(nspowner, 'usage') order by 1"
    )
    return [row[0] for row in rows]


def sizes(connection: psycopg.Connection) -> dict[str, int]:
    """Return the size in bytes of every table; each partition is a table."""
    return dict(connection.execute(_TABLES).fetchall())


def contents(connection: psycopg.Connection, tables: Sequence[str], steps: Steps) -> dict[str, Content]:
    """Compute row counts and checksums of tables in the snapshot of the current transaction."""
    # the text form of a row depends on these settings
    connection.execute("set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local row_security = off")
    found: dict[str, Content] = {}
    for table in tables:
        query = sql.SQL(
            "select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text from only {} as t"
        ).format(sql.Identifier(*table.split(".", 1)))
        row = connection.execute(query).fetchone()
        assert row is not None
        found[table] = Content(*row)
        steps.finish(table)
    return found


def sequences_of(connection: psycopg.Connection) -> dict[str, int | None]:
    """Return the last value of every sequence; None if the sequence was not used yet."""
    return dict(
        connection.execute(
            "select format('%s.%s', schemaname, sequencename), last_value from pg_sequences"
            " where pg_has_role(sequenceowner, 'usage') order by 1"
        ).fetchall()
    )


def compare(side: psycopg.Connection, manifest: Manifest, steps: Steps) -> None:
    """Compare a restored database with the backup's manifest.

    Raises:
        UserError: A table or a sequence differs.
    """
    with side.transaction():
        tables = contents(side, list(sizes(side)), steps)
        sequences = sequences_of(side)
    wrong = sorted(
        name for name in tables.keys() | manifest.tables.keys() if tables.get(name) != manifest.tables.get(name)
    ) or sorted(name for name in manifest.sequences if sequences.get(name) != manifest.sequences[name])
    if wrong:
        raise UserError(
            f"What was restored is not what was backed up: {', '.join(wrong[:3])}.",
            "The present database stays as it was; try an older backup.",
        )
