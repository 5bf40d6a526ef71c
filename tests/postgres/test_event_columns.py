"""`Row`, `ops.insert_events`, `public.events` and `archive.events` have the same columns."""

from __future__ import annotations

import re

from warehouse.events.schema import Row
from warehouse.kit.database import connect

# Fields of `Row` without a column of the same name: one is stored as `received_at`, the others are of rejected events.
NOT_STORED = {"arrived_at", "reject_code", "reject_detail", "reject_event_id", "reject_body"}
# Columns that landing computes or the database fills in.
COMPUTED = {"created_at", "received_at"}
DEFAULTS = {"id", "loaded_at"}
COLUMNS = "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"


def test_row_recordset_insert_and_tables_have_the_same_columns(database_url: str) -> None:
    with connect(database_url) as connection:
        row = connection.execute("select prosrc from pg_proc where proname = 'insert_events'").fetchone()
        columns = {
            table: {name for (name,) in connection.execute(COLUMNS, [table]).fetchall()}
            for table in ("public.events", "archive.events")
        }
    assert row is not None
    recordset = re.search(r"json_to_recordset\(batch\) as \((.*?)\)\)", row[0], re.DOTALL)
    inserted = re.search(r"insert into public\.events as landed \((.*?)\)", row[0], re.DOTALL)
    assert recordset
    assert inserted
    read = {definition.split()[0] for definition in recordset[1].split(",")}
    written = {name.strip() for name in inserted[1].split(",")}
    fields = set(Row.__struct_fields__)
    assert read == fields
    assert written == (fields - NOT_STORED) | COMPUTED
    assert columns["public.events"] == columns["archive.events"] == written | DEFAULTS
