"""The manifest of a backup: rows and checksums of every table, with which a restored copy is compared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import LiteralString, Self

import psycopg
from psycopg import sql

from warehouse.kit.errors import UserError

FILE_NAME = "manifest.json"

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class Content:
    """What a table holds: rows, and a sum of their hashes that does not depend on their order."""

    rows: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """What a restored copy of the backup must hold.

    Attributes:
        taken_at: The moment of the snapshot.
        tables: Content by table, partitions by name.
        sequences: Last value by sequence; None: not used yet.
        left_out: Schemas that belong to other roles, such as `auth` of Supabase: the backup does not hold them.
    """

    taken_at: datetime
    tables: dict[str, Content]
    sequences: dict[str, int | None]
    left_out: Sequence[str] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a backup.

        Raises:
            UserError: It is damaged.
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
        """Put it into a backup's folder, durably: it makes the folder a backup."""
        with (folder / FILE_NAME).open("w") as file:
            json.dump(asdict(self), file, default=str, indent=1)
            file.flush()
            os.fsync(file.fileno())


class Steps:
    """Adds up what pg_dump, pg_restore and comparing have done, by table."""

    def __init__(self, progress: Progress, weights: dict[str, int], passes: int) -> None:
        self._progress = progress
        self._weights = weights
        self._unseen = list(weights)
        self._total = float(sum(weights.values()) * passes)
        self._done = 0.0

    def finish(self, table: str) -> None:
        """A table is done, once more."""
        self._done += self._weights.get(table, 0)
        self._progress(self._done, self._total)

    def finish_unqualified(self, name: str) -> None:
        """As Postgres's programs say it: without the schema. The next table of this name is meant."""
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
    """Schemas that belong to other roles, such as `auth` of Supabase: they are no part of a backup."""
    rows = connection.execute(
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')"
        " and not pg_has_role(nspowner, 'usage') order by 1"
    )
    return [row[0] for row in rows]


def sizes(connection: psycopg.Connection) -> dict[str, int]:
    """Every table, partitions by name, with its bytes."""
    return dict(connection.execute(_TABLES).fetchall())


def contents(connection: psycopg.Connection, tables: Sequence[str], steps: Steps) -> dict[str, Content]:
    """Rows and checksums of tables, as the snapshot of this transaction sees them."""
    # a row's text depends on these
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
    """Where every sequence stands; None: not used yet."""
    return dict(
        connection.execute(
            "select format('%s.%s', schemaname, sequencename), last_value from pg_sequences"
            " where pg_has_role(sequenceowner, 'usage') order by 1"
        ).fetchall()
    )


def compare(side: psycopg.Connection, manifest: Manifest, steps: Steps) -> None:
    """Compare a restored database with what was backed up.

    Raises:
        UserError: They differ.
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
