"""Upgrades of the models: new columns, edited models, the development target, and models of the owner."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.conftest import TEMPLATE
from tests.dbt.dbt_project import PROJECT, run_dbt
from tests.dbt.events import add_sites, hostile_events, insert_events
from warehouse.access.analysts import add_analyst, list_analysts, remove_analyst
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres

DATABASE = "upgraded"
BUILD = ["build", "--exclude-resource-types", "unit_test", "test", "--exclude", "tag:daily"]


@dataclass
class Installation:
    """A database with built models, and a copy of the dbt project that a test may edit."""

    url: str
    connection: psycopg.Connection
    project: Path
    target: Path

    def build(self, *arguments: str) -> None:
        run_dbt(self.url, self.target, *BUILD, *arguments, project=self.project)

    def edit(self, path: str, pattern: str, replacement: str) -> None:
        file = self.project / path
        edited, number = re.subn(pattern, replacement, file.read_text(), count=1)
        assert number == 1
        file.write_text(edited)

    def tables(self) -> dict[str, int]:
        """Return the file of each table of the models, which a full rebuild replaces, by name."""
        return dict(
            self.connection.execute(
                "select relname, relfilenode::bigint from pg_class"
                " where relnamespace = any(array['intermediate', 'marts']::regnamespace[]) and relkind = 'r'"
            ).fetchall()
        )


@pytest.fixture(scope="module")
def built(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the models of 200 random visits in a database that tests copy, and yield dbt's target folder."""
    target = tmp_path_factory.mktemp("built")
    url = replace_in_url(postgres_server.url("postgres"), database=DATABASE)
    with connect(postgres_server.url("postgres")) as admin:
        _copy_database(admin, TEMPLATE, DATABASE)
        with connect(url) as connection:
            add_sites(connection)
            connection.execute("select ops.make_month('2026-10-01')")
            insert_events(connection, hostile_events(seed=3, visits=200))
        run_dbt(url, target, *BUILD)
        _copy_database(admin, DATABASE, f"{DATABASE}_template")
        yield target
        admin.execute(f"drop database {DATABASE}_template with (force)".encode())


@pytest.fixture
def installation(postgres_server: EmbeddedPostgres, built: Path, tmp_path: Path) -> Iterator[Installation]:
    """Yield a copy of the built database, which has the same name in all tests: dbt's target folder contains it."""
    url = replace_in_url(postgres_server.url("postgres"), database=DATABASE)
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(f"drop database {DATABASE} with (force)".encode())
        _copy_database(admin, f"{DATABASE}_template", DATABASE)
        shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("target"))
        shutil.copytree(built, tmp_path / "target")
        with connect(url) as connection:
            yield Installation(url, connection, tmp_path / "project", tmp_path / "target")


def _copy_database(admin: psycopg.Connection, name: str, copy: str) -> None:
    admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(copy), sql.Identifier(name)))


def test_an_upgrade_that_adds_a_column_keeps_the_rows_of_dropped_cold_months(installation: Installation) -> None:
    connection = installation.connection
    october = "created_at >= '2026-10-01' and created_at < '2026-11-01'"
    kept = connection.execute(f"select count(*) from intermediate.int_events_sessionised where {october}").fetchone()
    assert kept
    assert kept[0] > 100
    connection.execute(f"delete from public.events where {october}")
    connection.execute(
        "insert into archive.cold_files (month, url, row_count, byte_count, checksum, dropped_at)"
        " values ('2026-10-01', 'file:///gone', 1, 1, '', now())"
    )
    # the next version stages one more column, which the models keep
    installation.edit("models/staging/stg_events.sql", "as page_title,", "as page_title,\n        user_agent,")
    installation.edit("models/intermediate/int_events_sessionised.sql", "'page_title',", "'page_title', 'user_agent',")
    installation.build()
    found = connection.execute(
        f"select count(*), count(user_agent) from intermediate.int_events_sessionised where {october}"
    ).fetchone()
    assert found == (kept[0], 0)


def test_an_upgrade_may_add_a_column_to_a_seed(installation: Installation) -> None:
    connection = installation.connection
    rows = connection.execute("select count(*) from staging.channel_sources").fetchone()
    # as an earlier release left it
    connection.execute("alter table staging.channel_sources drop column includes_subdomains cascade")
    installation.build("--select", "channel_sources+1")
    assert connection.execute("select count(*) from staging.channel_sources").fetchone() == rows
    assert connection.execute(
        "select includes_subdomains from staging.channel_sources where source = 'blogsearch.google.*'"
    ).fetchone() == (False,)


def test_an_edit_rebuilds_only_the_edited_model_and_its_descendants(installation: Installation) -> None:
    before = installation.tables()
    installation.build()
    incremental = installation.tables()
    unconditional = {name for name in before if incremental[name] != before[name]}
    assert unconditional == {"retention_cohorts", "time_spine_daily"}
    # a model, and a macro that is called by another macro
    installation.edit(
        "models/intermediate/int_funnel_progress.sql", r"\nselect \* from final", "\n-- same\nselect * from final"
    )
    installation.edit("macros/daily_measures.sql", r"count\(distinct", "count(  distinct")
    installation.build()
    after = installation.tables()
    assert {name for name in before if after[name] != incremental[name]} - unconditional == {
        "int_funnel_progress",
        "funnel_daily",
        "daily_metrics",
        "daily_totals",
    }


def test_the_development_target_does_not_touch_production(installation: Installation) -> None:
    connection = installation.connection
    for name in [one.name for one in list_analysts(installation.url)]:
        remove_analyst(installation.url, name)
    access = add_analyst(installation.url, "mark", modeller=True)
    try:
        counts = "select schemaname || '.' || relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_all_tables"
        counts += " where schemaname in ('staging', 'intermediate', 'marts', 'ops') order by 1"
        state = "select * from ops.watermarks order by model"
        before = connection.execute(counts).fetchall(), connection.execute(state).fetchall(), installation.tables()
        run_dbt(access.url, installation.target / "dev", *BUILD, "--target", "dev", project=installation.project)
        # the second build is incremental, from the watermarks of the development target
        run_dbt(access.url, installation.target / "dev", *BUILD, "--target", "dev", project=installation.project)
        after = connection.execute(counts).fetchall(), connection.execute(state).fetchall(), installation.tables()
        assert after == before
        assert (
            connection.execute("select count(*) from dev_marts.sessions").fetchone()
            == connection.execute("select count(*) from marts.sessions").fetchone()
        )
        assert connection.execute("select max(build) from dev_ops.watermarks").fetchone() == (2,)
    finally:
        connection.execute("drop owned by mark cascade")
        remove_analyst(installation.url, "mark")


def test_models_goals_and_funnels_of_the_owner_are_built_with_those_of_the_product(installation: Installation) -> None:
    custom = installation.project / "custom"
    with (custom / "seeds" / "own_goals.csv").open("a") as goals:
        goals.write("catalogue,Catalogue,,page_view,/catalogue,,\n")
    with (custom / "seeds" / "own_funnels.csv").open("a") as funnels:
        # the same name on two sites
        for site in ("moscow", "york"):
            funnels.write(f"own,Own,{site},1,Any page,page_view,,24,loose\n")
            funnels.write(f"own,Own,{site},2,Cart,add_to_cart,,24,loose\n")
    (custom / "models" / "sessions_by_site.sql").write_text(
        "select site_id, count(*) as sessions from {{ ref('sessions') }} group by 1"
    )
    run_dbt(
        installation.url, installation.target, "build", "--exclude-resource-types", "unit_test",
        "--exclude", "tag:daily", project=installation.project,
    )  # fmt: skip
    rows = installation.connection.execute
    assert (
        rows("select sum(sessions) from custom.sessions_by_site").fetchone()
        == rows("select count(*) from marts.sessions").fetchone()
    )
    assert rows("select count(*) > 10 from marts.conversions where goal_id = 'catalogue'").fetchone() == (True,)
    assert rows("select distinct site_id from marts.funnel_daily where funnel_id = 'own' order by 1").fetchall() == [
        ("moscow",),
        ("york",),
    ]
    installation.connection.execute("set role analyst")
    assert rows("select count(*) from custom.sessions_by_site").fetchone()
    installation.connection.execute("reset role")
