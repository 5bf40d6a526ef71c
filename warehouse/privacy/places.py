"""Places in the database that may hold a person's data. Each can count, read and erase the person's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString, Protocol

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from warehouse.kit.queries import read_query
from warehouse.privacy.catalogue import columns_of, tables_of
from warehouse.privacy.person import SQL_DIR, Person, event_keys

BATCH = 5000
MODEL_SCHEMAS = ("intermediate", "marts", "ml", "custom")


class Place(Protocol):
    """A place that may hold a person's rows. All methods run in the caller's transaction."""

    @property
    def name(self) -> str:
        """Return the name of the place in reports."""
        ...

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """Count the person's rows."""
        ...

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:
        """Yield the person's rows as JSON objects."""
        ...

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:
        """Erase the person's rows. Return the number of erased rows by place."""
        ...


@dataclass(frozen=True)
class Events:
    """A partitioned table of events. Events are found by index and deleted by key, without reading complete months."""

    name: LiteralString
    query: Literal["live_events", "archived_events"]

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """Count the person's events."""
        return len(event_keys(connection, self.query, person))

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:
        """Yield the person's events, oldest first."""
        query = sql.SQL(
            "select to_jsonb(e) from {} as e inner join unnest(%s::timestamptz[], %s::uuid[]) as k (at, id)"
            " on e.created_at = k.at and e.event_id = k.id"
            " where e.site_id = %s order by e.created_at, e.event_id"
        ).format(self._table)
        for part in self._batches(connection, person):
            with connection.cursor(row_factory=scalar_row) as cursor:
                times, event_ids = [at for at, _ in part], [event_id for _, event_id in part]
                yield from cursor.execute(query, [times, event_ids, person.site_id])

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:
        """Delete the events and their claims, and mark their days for a rebuild of the models."""
        query = sql.SQL(read_query(SQL_DIR, "delete_events")).format(table=self._table)
        events = claims = 0
        for part in self._batches(connection, person):
            keys = {"times": [at for at, _ in part], "event_ids": [event_id for _, event_id in part]}
            row = connection.execute(query, {"site": person.site_id} | keys).fetchone()
            assert row is not None
            events, claims = events + row[0], claims + row[1]
        return {self.name: events, "public.event_claims": claims}

    def _batches(self, connection: psycopg.Connection, person: Person) -> Iterator[list[tuple[Any, Any]]]:
        keys = event_keys(connection, self.query, person)
        return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))


@dataclass(frozen=True)
class Table:
    """A table whose rows contain a visitor ID, a session ID or a person ID of the models."""

    schema: str
    table: str
    condition: sql.Composable

    @property
    def name(self) -> str:
        """Return schema and table."""
        return f"{self.schema}.{self.table}"

    def count(self, connection: psycopg.Connection, person: Person) -> int:
        """Count the person's rows."""
        row = connection.execute(self._statement("select count(*) from"), person.values).fetchone()
        return row[0] if row else 0

    def read(self, connection: psycopg.Connection, person: Person) -> Iterator[dict[str, Any]]:
        """Yield the rows as JSON objects."""
        with connection.cursor(row_factory=scalar_row) as cursor:
            yield from cursor.execute(self._statement("select to_jsonb(t) from"), person.values)

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:
        """Delete the rows."""
        return {self.name: connection.execute(self._statement("delete from"), person.values).rowcount}

    def _statement(self, verb: LiteralString) -> sql.Composed:
        table = sql.Identifier(self.schema, self.table)
        return sql.SQL("{} {} as t where {}").format(sql.SQL(verb), table, self.condition)


@dataclass(frozen=True)
class Sessions(Table):
    """`public.sessions`. A session that also has another visitor's events is computed again from those events."""

    def erase(self, connection: psycopg.Connection, person: Person) -> dict[str, int]:
        """Delete the person's sessions. The person's rows in `public.events` must already be deleted."""
        removed = super().erase(connection, person)
        connection.execute(read_query(SQL_DIR, "describe_sessions"), person.values)
        return removed


_OF_VISITOR = sql.SQL("t.site_id = %(site)s and t.user_id = any(%(ids)s)")
# Match a visitor ID of 8 or more characters anywhere in the body; a shorter ID may be a common word, so it must be the
# value of user_id.
_IN_REJECTED_BODY = sql.SQL(
    "t.site_id = %(site)s and t.body is not null and exists ("
    " select from unnest(%(words)s::text[]) as w (word) where"
    " (length(w.word) >= 8 and (strpos(t.body, w.word) > 0 or strpos(t.body, btrim(to_json(w.word)::text, '\"')) > 0))"
    " or strpos(replace(t.body, '\": ', '\":'), '\"user_id\":' || to_json(w.word)::text) > 0)"
)


def event_places() -> list[Place]:
    """Return the tables of events, which are erased before derived data."""
    return [Events("public.events", "live_events"), Events("archive.events", "archived_events")]


def record_places() -> list[Place]:
    """Return the other tables of `public` and `ops`, in the order of erasure."""
    return [
        Table("public", "rejected_events", _IN_REJECTED_BODY),
        Sessions(
            "public",
            "sessions",
            sql.SQL(
                "t.site_id = %(site)s and (t.user_id = any(%(ids)s)"
                " or (t.user_id is null and t.session_id = any(%(own)s::uuid[])))"
            ),
        ),
        Table("ops", "shared_sessions", _OF_VISITOR),
        Table("public", "users", _OF_VISITOR),
    ]


def model_places(connection: psycopg.Connection) -> list[Place]:
    """Return the tables of dbt and ml that contain a column which identifies a visitor, session or person."""
    found: list[Place] = []
    for (schema, table), columns in tables_of(connection, MODEL_SCHEMAS).items():
        condition = _condition(columns)
        if condition is not None:
            found.append(Table(schema, table, condition))
    return found


def note_joined(connection: psycopg.Connection, person: Person) -> None:
    """Mark visitors for a rebuild of the models who share a session, an order or an identity with the person."""
    if columns_of(connection, "intermediate", "int_visitor_links"):
        connection.execute(read_query(SQL_DIR, "note_joined"), person.values)


def impersonal_tables(connection: psycopg.Connection, schemas: Sequence[str] = MODEL_SCHEMAS) -> set[str]:
    """Return the tables of the models that an erasure ignores. They must not contain personal data.

    `tests/dbt/test_privacy.py` compares the result with the tables that are known to hold none, so that a new table
    with personal data cannot be overlooked.
    """
    return {
        f"{schema}.{table}"
        for (schema, table), columns in tables_of(connection, schemas).items()
        if _condition(columns) is None
    }


_IDENTIFYING_COLUMNS: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("user_id", "ids"),
    ("session_id", "all_sessions"),
    ("client_session_id", "all_sessions"),
    ("person_id", "person_ids"),
)


def _condition(columns: dict[str, str]) -> sql.Composable | None:
    """Return the condition for a person's rows in a table of the models; None without an identifying column."""
    if "site_id" not in columns:
        return None
    if {"user_id", "session_id", "conversion_id", "touch_number"} <= columns.keys():
        # attribution: the visitor who converted and the visitor of the session may be different persons' devices
        return sql.SQL(
            "t.site_id = %(site)s and (t.user_id = any(%(ids)s) or t.session_id = any(%(all_sessions)s::uuid[]))"
        )
    for column, values in _IDENTIFYING_COLUMNS:
        if column in columns:
            return sql.SQL("t.site_id = %(site)s and t.{} = any({}::{}[])").format(
                sql.Identifier(column), sql.Placeholder(values), sql.SQL(_array_type(columns[column]))
            )
    return None


def _array_type(kind: str) -> LiteralString:
    return "uuid" if kind == "uuid" else "text"
