"""Every index is used by a query that `sql/README.md` lists, according to EXPLAIN and to usage statistics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench import models
from tests.postgres.landed import event
from warehouse.archive import moves
from warehouse.events.landing import land
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.installation import shipped
from warehouse.kit.queries import read_query
from warehouse.kit.settings import Settings
from warehouse.privacy.erase import erase
from warehouse.rejected import rejected_events
from warehouse.sites.registry import add_site

README = (shipped("sql") / "README.md").read_text().partition("## Indexes")[2]
NAMED = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", README, re.MULTILINE))
QUERIES = re.findall(r"```sql\n-- (\S+)\n(.*?)```", README, re.DOTALL)
# Index names before and after migration 0013.
RENAMED = {"public.events_idempotency": "public.events_key", "archive.events_idempotency": "archive.events_key"}


@pytest.fixture(scope="module")
def url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Yield a database with events of the last 30 days, scores, and rejected events of three months."""
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute("create database index_plans template tilda_template")
        url = replace_in_url(postgres_server.url("postgres"), database="index_plans")
        add_site(url, "shop", ["shop.example"], "UTC")
        with connect(url) as connection:
            store(connection)
        yield url
        admin.execute("drop database index_plans with (force)")


def store(connection: psycopg.Connection) -> None:
    now = datetime.now(UTC)
    archived = date(2015, 5, 1)
    for month in {archived, (now - timedelta(days=30)).date().replace(day=1)}:
        connection.execute("select ops.make_month(%s)", [month])
    connection.execute("alter table public.events disable trigger user")
    made: dict[str, Any] = {"days": 30, "loaded_at": now - timedelta(days=1)}
    query = read_query(models.SQL_DIR, "models_events")
    connection.execute(query, made | {"first": 1, "last": 3000, "start": now - timedelta(days=30)})
    connection.execute(query, made | {"first": 5000, "last": 5500, "start": datetime(2015, 5, 1, tzinfo=UTC)})
    connection.execute("alter table public.events enable trigger user")
    moves.move(connection, archived, "archive")
    connection.execute(
        """
        update public.events set payload = case event_type
            when 'click' then jsonb_set(payload, '{click,button}', to_jsonb(case when id % 33 = 0 then 2 else 0 end))
            else jsonb_set(payload, '{scroll,scrollPercent}', to_jsonb((array[10, 25, 50, 75, 100])[1 + id % 5]))
        end
        where event_type in ('click', 'scroll');
        update public.events set session_id = null where event_type = 'form_submit' and id % 2 = 0;
        update public.events set loaded_at = now() where created_at > now() - interval '1 hour';
        insert into public.sessions (site_id, session_id, user_id, started_at)
        select site_id, session_id, min(user_id), min(created_at)
        from public.events where session_id is not null group by site_id, session_id;
        insert into public.rejected_events (site_id, code, detail, body, source, received_at)
        select 'shop', 'invalid_event', '', '{"user_id": "v' || n || '"}', 'api', now() - n * interval '10 minutes'
        from generate_series(1, 12960) as n;
        insert into ml.propensity_scores (site_id, user_id, as_of, score, decile, band, model_version)
        select 'shop', 'v' || n, as_of, n / 3000.0, 1, (array['hot', 'warm', 'cold'])[1 + n % 3], 'v1'
        from generate_series(1, 3000) as n
        cross join generate_series('2026-08-01', '2026-11-01', interval '1 week') as as_of;
        """
    )
    connection.execute("vacuum analyze")


def roots(connection: psycopg.Connection) -> dict[str, int]:
    """Return the number of scans of each index without a constraint, including scans of its partitions' indexes."""
    connection.execute("select pg_stat_clear_snapshot()")
    return dict(
        connection.execute(
            """
            select n.nspname || '.' || c.relname, coalesce(sum(used.idx_scan), 0)::bigint
            from pg_index as i
            inner join pg_class as c on i.indexrelid = c.oid
            inner join pg_namespace as n on c.relnamespace = n.oid
            left join pg_stat_all_indexes as used
                on coalesce(pg_partition_root(used.indexrelid), used.indexrelid) = i.indexrelid
            where
                n.nspname in ('public', 'archive', 'ml', 'ops') and not c.relispartition
                and not exists (select from pg_constraint where conindid = i.indexrelid)
            group by 1
            """
        ).fetchall()
    )


def test_every_index_is_listed_in_the_readme(url: str) -> None:
    with connect(url) as connection:
        assert {RENAMED.get(name, name) for name in roots(connection)} <= NAMED


@pytest.mark.parametrize(("index", "query"), QUERIES)
def test_postgres_uses_the_index_for_the_documented_query(url: str, index: str, query: str) -> None:
    with connect(url) as connection:
        if '\'{"click": {"button": 0}}\'' in query:
            connection.execute("set enable_seqscan = off")  # Postgres prefers a full scan of a small table
        plan = connection.execute(b"explain (format json) " + query.encode()).fetchone()
        assert plan is not None
        used = set(re.findall(r"'Index Name': '(\w+)'", repr(plan[0])))
        of_partitions = connection.execute(
            "select c.relname from pg_partition_tree(%s) as p inner join pg_class as c on c.oid = p.relid"
            " union select %s",
            [index, index.partition(".")[2]],
        )
        assert used & {name for (name,) in of_partitions}, plan[0]


def test_the_projects_own_queries_use_the_other_indexes(url: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    with connect(url) as connection:
        (visitor,) = connection.execute(
            "select user_id from public.events where payload ? 'identity' limit 1"
        ).fetchone() or ("",)
        before = roots(connection)
        known = event()
        land(connection, [known, known])
        rejected_events.list_rejected(
            connection, rejected_events.Filter("shop", None, datetime.now(UTC) - timedelta(hours=1))
        )
    erase(url, settings, "shop", visitor, dry_run=True)
    with connect(url) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        after = roots(connection)
        others = set(after) - {name for name, _ in QUERIES}
        # Unique indexes are needed as constraints. Those of events are also used for lookups.
        wanted = {name for name in others if name.startswith("public.events_") or not is_unique(connection, name)}
    assert wanted <= {name for name in after if after[name] > before[name]}


def is_unique(connection: psycopg.Connection, index: str) -> bool:
    row = connection.execute("select indisunique from pg_index where indexrelid = %s::regclass", [index]).fetchone()
    return row == (True,)
