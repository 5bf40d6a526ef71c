"""Migration 0019 adds the columns visit_id and tab_id to tables that hold events."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

from tests.postgres.landed import ago, count, event
from tests.postgres.months import JANUARY, hostile_events
from tests.postgres.test_keys_by_site import OLD_IMPORT, land_as_old_release
from warehouse.archive import moves
from warehouse.events.landing import land
from warehouse.kit import migrations
from warehouse.kit.database import connect
from warehouse.partitions.months import ensure_months

FILES = """
    select relid::regclass::text, pg_relation_filenode(relid)
    from unnest('{public.events,archive.events}'::regclass[]) as parent
    cross join lateral pg_partition_tree(parent) where isleaf
"""


def test_the_columns_are_added_without_rewriting_a_table(old_database_url: str) -> None:
    with connect(old_database_url) as owner:
        ensure_months(owner, [JANUARY])
        land_as_old_release(owner, hostile_events(JANUARY), OLD_IMPORT)
        moves.move(owner, JANUARY, "archive")
        land_as_old_release(owner, [event(at=ago(minutes=1))])
        before = dict(owner.execute(FILES).fetchall())
        assert "archive.events_2020_01" in before
        migrations.migrate(old_database_url)
        assert dict(owner.execute(FILES).fetchall()) == before
        named = event(at=ago(minutes=1), visit_id=uuid4(), tab_id=uuid4())
        land(owner, [named])
        seen = owner.execute("select visit_id, tab_id from archive.all_events order by visit_id nulls last").fetchall()
        assert seen[0] == (named.visit_id, named.tab_id)
        assert set(seen[1:]) == {(None, None)}
        # an archived month of the old release returns with the columns
        moves.move(owner, JANUARY, "public")
        assert count(owner, "public.events where visit_id is null and tab_id is null") == len(seen) - 1


def test_the_migration_does_not_block_writers_while_it_waits_for_its_lock(database_url: str) -> None:
    """A report holds a lock for 1.5 s.

    If the migration waited for its lock without a timeout, writers would queue behind it and time out.
    """
    migration = (migrations.SQL_DIR / "0019_visits_and_tabs.sql").read_text()
    insert = "insert into public.events (site_id, event_type) values ('shop', 'page_view')"
    with connect(database_url) as owner, connect(database_url) as report, connect(database_url) as writer:
        for table in ("public.events", "archive.events"):
            owner.execute(f"alter table {table} drop column visit_id cascade, drop column tab_id cascade".encode())
        writer.execute("set lock_timeout = '1s'")
        migrating = threading.Thread(target=lambda: owner.execute(migration.encode()))
        with report.transaction():
            count(report, "public.events")
            migrating.start()
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                writer.execute(insert)
                assert migrating.is_alive()
        while migrating.is_alive():
            writer.execute(insert)
        migrating.join()
        assert len(land(owner, [event(visit_id=uuid4(), tab_id=uuid4())])) == 1
        assert count(owner, "archive.all_events where tab_id is not null") == 1
