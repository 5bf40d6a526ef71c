"""Writes the pending migrations as a script that a database administrator runs with psql.

The script has the same effect as `warehouse.kit.migrations.migrate`: each migration is one transaction with its record
in yoyo's ledger, with the same lock and search path, and indexes of partitioned tables are built partition by
partition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import yoyo
from yoyo.migrations import Migration

from warehouse.kit import migrations
from warehouse.kit.database import connect
from warehouse.kit.partitioned_indexes import UNBUILT
from warehouse.kit.queries import read_query

_HEAD = """\
-- Pending migrations of the database {database}, written by `tilda migrate --sql`. Run this file as the owner:
--     psql --set ON_ERROR_STOP=1 --file FILE
-- Each migration is a separate transaction with its record in the ledger. A failed migration is rolled back; earlier
-- ones stay applied. Write the script again before you repeat it.
"""
_BEGIN = """\
set local search_path = ops;
-- While a statement waits for a strong lock, writers queue behind it.
set local lock_timeout = '3s';
"""
_LOCK = f"select pg_advisory_xact_lock(hashtextextended('{migrations.LOCK}', 0));\n"
_AFTER = """\
do $$
begin
    if not exists (select from ops._yoyo_migration where migration_id = '{previous}') then
        raise exception 'Apply the migration {previous} first.';
    end if;
end
$$;
"""
_RECORD = """\
insert into ops._yoyo_log (id, migration_hash, migration_id, operation, username, hostname, created_at_utc)
values (
    gen_random_uuid(), '{hash}', '{id}', 'apply',
    current_user, coalesce(host(inet_client_addr()), 'localhost'), clock_timestamp() at time zone 'utc'
);
insert into ops._yoyo_migration (migration_hash, migration_id, applied_at_utc)
values ('{hash}', '{id}', clock_timestamp() at time zone 'utc');
"""
_INDEXES = """\
-- Build indexes of partitioned tables concurrently, partition by partition. psql runs each statement that this query
-- returns. In other clients, omit \\gexec and run the statements one by one, outside a transaction, because CREATE
-- INDEX CONCURRENTLY cannot run in a transaction.
set lock_timeout = '3s';
select s.statement
from (
{unbuilt}
) as unbuilt
cross join lateral (
    values (1, drop_statement), (2, build_statement), (3, attach_statement)
) as s (step, statement)
where s.statement is not null
order by unbuilt.index_name, unbuilt.attach_statement, s.step
\\gexec
reset lock_timeout;
"""
_ON_ONLY = re.compile(r"\bcreate\s+(?:unique\s+)?index\b[^;]*\bon\s+only\b", re.IGNORECASE)


def pending_script(url: str) -> str:
    """Return a script that applies the pending migrations; empty if the schema is up to date."""
    with connect(url) as connection:
        recorded = _recorded(connection)
        incomplete = connection.execute(UNBUILT).fetchone() is not None
        database = connection.info.dbname
    known = sorted(yoyo.read_migrations(str(migrations.SQL_DIR)), key=lambda migration: migration.id)
    missing = [migration for migration in known if migration.hash not in (recorded or ())]
    if not missing and not incomplete:
        return ""
    indexes = _INDEXES.format(unbuilt=UNBUILT.rstrip())
    parts = [_HEAD.format(database=database), *([indexes] if incomplete else [])]
    if recorded is None:
        ledger = read_query(Path(__file__).parent / "sql", "migration_ledger")
        parts.append(f"begin;\n{_LOCK}{ledger}commit;\n")
    previous = dict(zip([one.id for one in known[1:]], [one.id for one in known], strict=False))
    for migration in missing:
        text = Path(migration.path).read_text()
        parts.append("".join(_transaction(migration, text, previous.get(migration.id))))
        # the next migration may need the indexes
        if _ON_ONLY.search(text):
            parts.append(indexes)
    return "\n".join(parts)


def _recorded(connection: psycopg.Connection) -> set[str] | None:
    """Return the migration hashes in the ledger; None if there is no ledger."""
    row = connection.execute("select to_regclass('ops._yoyo_migration')").fetchone()
    if row is None or row[0] is None:
        return None
    return {hash_ for (hash_,) in connection.execute("select migration_hash from ops._yoyo_migration")}


def _transaction(migration: Migration, text: str, previous: str | None) -> Iterator[str]:
    """Yield the parts of a transaction with one migration and its record."""
    yield f"-- {Path(migration.path).name}\nbegin;\n{_LOCK}"
    if previous is not None:
        yield _AFTER.format(previous=previous)
    yield f"{_BEGIN}\n{text.rstrip()}\n\n"
    yield _RECORD.format(hash=migration.hash, id=migration.id)
    yield "commit;\n"
