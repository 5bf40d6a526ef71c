"""`tilda status` counts few events exactly and estimates many events cheaply."""

from __future__ import annotations

from datetime import timedelta

from tests.postgres.landed import ago, event, now
from warehouse.events.counts import count_events
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.sites.registry import ensure_site


def test_few_events_are_counted_exactly(database_url: str) -> None:
    ensure_site(database_url, "shop", ["shop.example"], "UTC")
    with connect(database_url) as owner:
        assert (count_events(owner).events, count_events(owner).last_event_at) == (0, None)
        land(owner, [event(at=ago(minutes=n)) for n in range(30)])
        # the event that arrived last has an older created_at
        land(owner, [event(at=now() - timedelta(days=3))])
        last = owner.execute("select max(received_at) from public.events").fetchone()
        found = count_events(owner)
    assert (found.events, found.is_estimate) == (31, False)
    assert last == (found.last_event_at,)


def test_many_events_are_estimated_without_reading_them(database_url: str) -> None:
    with connect(database_url) as owner:
        ensure_site(database_url, "shop", ["shop.example"], "UTC")
        for _ in range(4):
            land(owner, [event(at=ago(minutes=n)) for n in range(500)])
        owner.execute("analyze public.events")
        owner.execute("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        before = owner.execute(
            "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables where relname ~ '^events_2'"
        ).fetchone()
        found = count_events(owner, exact_bytes=0)
        owner.execute("select pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        after = owner.execute(
            "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_user_tables where relname ~ '^events_2'"
        ).fetchone()
    assert found.is_estimate
    assert abs(found.events - 2000) <= 100
    assert found.last_event_at is not None
    assert before == after
