"""The upgrade that adds the site to the keys of events, while processes of the old release land events."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg import errors

from tests.postgres.landed import ago, count, event, now
from tests.postgres.months import AGES, ARCHIVED, COLD, JANUARY, hostile_events
from warehouse.archive import cold, runs
from warehouse.events.landing import DATA_ERRORS, land
from warehouse.events.schema import Row
from warehouse.kit import migrations
from warehouse.kit.database import connect
from warehouse.partitions.months import ensure_months

OLD_LAND = "select public.land_events(%s::json)"
OLD_IMPORT = "select ops.import_events(%s::json)"


def land_as_old_release(connection: psycopg.Connection, rows: list[Row], statement: str = OLD_LAND) -> None:
    """Land a flush as the old release did.

    It retries a deadlock or serialization failure at once. Any other error that the data did not cause puts the flush
    on the spool, which is replayed; here that is a retry after 10 ms.
    """
    text = msgspec.json.encode(rows).decode()
    while True:
        try:
            connection.execute(statement.encode(), [text])
        except (errors.DeadlockDetected, errors.SerializationFailure):
            continue
        except DATA_ERRORS:
            raise
        except psycopg.Error:
            if connection.closed:
                raise
            time.sleep(0.01)
        else:
            return


@dataclass
class OldProcess:
    """Lands events of two sites, resends about a third of the flushes, and records the longest call in seconds."""

    url: str
    seed: int
    sent: list[list[Row]] = field(default_factory=list[list[Row]])
    longest: float = 0

    def run(self, stop: threading.Event) -> None:
        chance = random.Random(self.seed)
        with connect(self.url, application="old release") as connection:
            while not stop.is_set():
                if self.sent and chance.randrange(3) == 0:
                    flush = chance.choice(self.sent[-20:])
                else:
                    flush = [
                        event(
                            UUID(int=chance.getrandbits(128)),
                            # about half of the events have no client time and need a claim
                            ago(minutes=chance.randrange(600)) if chance.randrange(2) else None,
                            site_id=chance.choice(["shop", "blog"]),
                            user_id=f"u{chance.randrange(50)}",
                            session_id=UUID(int=chance.randrange(200)),
                        )
                        for _ in range(30)
                    ]
                    self.sent.append(flush)
                started = time.monotonic()
                land_as_old_release(connection, flush)
                self.longest = max(self.longest, time.monotonic() - started)


def test_an_upgrade_while_events_land_loses_and_duplicates_nothing(old_database_url: str) -> None:
    processes = [OldProcess(old_database_url, seed) for seed in range(3)]
    stop = threading.Event()
    with connect(old_database_url) as owner:
        first = [event(at=None if n % 2 else ago(minutes=n), site_id="blog") for n in range(3000)]
        land_as_old_release(owner, first)
        with ThreadPoolExecutor(len(processes)) as pool:
            running = [pool.submit(process.run, stop) for process in processes]
            try:
                time.sleep(0.5)
                applied = migrations.migrate(old_database_url)
                time.sleep(0.3)
            finally:
                stop.set()
            for process in running:
                process.result()
        assert applied[0].startswith("0012")

        rows = first + [row for process in processes for flush in process.sent for row in flush]
        stored = owner.execute("select site_id, event_id from events").fetchall()
        assert Counter(stored) == Counter({(row.site_id, row.event_id): 1 for row in rows})
        users = Counter((row.site_id, row.user_id) for row in rows if row.user_id)
        counted = owner.execute("select site_id, user_id, event_count from users").fetchall()
        assert {(site_id, user_id): events for site_id, user_id, events in counted} == users
        assert count(owner, "rejected_events") == 0
        # Each claim has its site. A resend is a duplicate on its own site only.
        untimed = [row for row in rows if row.client_created_at is None]
        claims = owner.execute("select site_id, event_id from event_claims").fetchall()
        assert sorted(claims) == sorted((row.site_id, row.event_id) for row in untimed)
        assert not land(owner, rows[-500:] + first[:500])
        others = [event(row.event_id, row.client_created_at, site_id="news") for row in first[:50]]
        assert land(owner, others).total() == 50
        indexes = owner.execute(
            "select count(*) filter (where not i.indisvalid), count(*) filter (where c.relname ~ 'idempotency')"
            " from pg_index as i inner join pg_class as c on c.oid = i.indexrelid"
        ).fetchone()
        assert indexes == (0, 0)
        assert count(owner, "pg_constraint where not convalidated") == 0
    assert max(process.longest for process in processes) < 5


def test_the_migration_script_run_in_one_transaction_creates_the_keys(old_database_url: str) -> None:
    """An SQL editor runs the script in one transaction, so indexes are not built concurrently by `tilda migrate`."""
    with connect(old_database_url) as owner:
        rows = [event(at=None if n % 2 else ago(minutes=n)) for n in range(20)]
        land_as_old_release(owner, rows)
        ensure_months(owner, [JANUARY])
        land_as_old_release(owner, hostile_events(JANUARY), OLD_IMPORT)
        owner.execute("update ops.months set imported_at = month")
        runs.run(old_database_url, AGES, "file:///nowhere", ARCHIVED)
        files = [file for file in sorted(migrations.SQL_DIR.glob("*.sql")) if file.stem >= "0012"]
        owner.execute("\n".join(file.read_text() for file in files).encode())
        assert count(owner, "pg_index where not indisvalid") == 0
        assert not land(owner, rows)
        assert len(land(owner, [event(row.event_id, row.client_created_at, site_id="blog") for row in rows])) == 20
        with pytest.raises(errors.UniqueViolation):
            owner.execute("insert into archive.events select * from archive.events limit 1")


def test_the_upgrade_truncates_full_ip_addresses(old_database_url: str, tmp_path: Path) -> None:
    """A direct client stored full IP addresses: one in a live month, one in a cold file of the old release.

    The file lacks the columns `click_ids`, `visit_id` and `tab_id`, which are null after the restore.
    """
    folder = f"file://{tmp_path}/cold"
    full = "update events set ip_address = '203.0.113.77' where id = (select max(id) from events where {})"
    with connect(old_database_url) as owner:
        ensure_months(owner, [JANUARY])
        land_as_old_release(owner, hostile_events(JANUARY), OLD_IMPORT)
        owner.execute(full.format("created_at < '2021-01-01'").encode())
        owner.execute("update ops.months set imported_at = month")
        columns = owner.execute("select * from events order by created_at, event_id").fetchall()
        runs.run(old_database_url, AGES, folder, COLD)
        land_as_old_release(owner, [event(), event()])
        owner.execute(full.format("true").encode())
        (before,) = cold.list_files(owner)

        migrations.migrate(old_database_url)
        assert owner.execute("select ip_address::text from events where ip_address is not null").fetchall() == [
            ("203.0.113.0/24",)
        ]
        runs.restore(old_database_url, JANUARY)
        assert cold.list_files(owner) == []
        restored = owner.execute(
            "select * from events where created_at < '2021-01-01' order by created_at, event_id"
        ).fetchall()
        assert len(restored) == before.row_count == len(columns)
        place = [column.name for column in owner.execute("select * from events limit 0").description or []].index(
            "ip_address"
        )
        old_width = len(columns[0])
        changed = [
            (old[place], new[place]) for old, new in zip(columns, restored, strict=True) if old != new[:old_width]
        ]
        assert [(str(old), str(new)) for old, new in changed] == [("203.0.113.77", "203.0.113.0/24")]
        assert {row[old_width:] for row in restored} == {(None, None, None)}
        # the restored month can be archived again
        runs.run(old_database_url, AGES, folder, now() + timedelta(days=800))
        assert [file.row_count for file in cold.list_files(owner) if file.month == JANUARY] == [before.row_count]
