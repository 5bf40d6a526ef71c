"""Incremental builds produce the rows of a full refresh in every mart.

Each hypothesis example is a separate site, so that all examples share a few dbt runs. The runs use one parsed project
in this process. Low bounds make visitors with too many events and identifiers with too many visitors occur.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import sql

from orchestration.lib.dbt import dbt_environment
from tests.conftest import TEMPLATE
from tests.dbt.cases import DELIVERIES, Site, rows_of, sites
from tests.dbt.dbt_project import PROJECT
from tests.dbt.events import insert_events
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres

BOUNDS = "{visitor_event_bound: 11, session_hours_bound: 1, identifier_visitor_bound: 2, attribution_days: 1}"
BUILD = ["build", "--exclude-resource-types", "unit_test", "test", "--vars", BOUNDS]
# Rows added to the project's seeds: funnels with strict order, paths, four steps and one site only; goals with a path,
# a minimum value and one site only.
MORE_SEEDS = {
    "funnels": [
        "strict,Strict,,1,Home,page_view,/,1,strict",
        "strict,Strict,,2,Page,page_view,/p%,1,strict",
        "strict,Strict,,3,Form,form_start,,1,strict",
        "strict,Strict,,4,Sent,form_submit,/p,1,strict",
        "own,Own,site-1,1,Any page,page_view,,0.5,strict",
        "own,Own,site-1,2,Another,page_view,,0.5,strict",
    ],
    "exchange_rates": ["2026-01-01,RUB,1", "2026-10-06,USD,80", "2026-11-01,USD,81.5"],
    "goals": ["page,Page,,page_view,/p,,,", "big,Large order,,purchase,,,20,", "own,Own,site-1,form_submit,,f,,true"],
}
AFFECTED_VISITORS_MODEL = "model.tilda_analytics.int_affected_visitors"
LOADED = datetime(2026, 11, 20, tzinfo=UTC)


class Builds:
    """Runs dbt in this process on databases of one server."""

    def __init__(self, folder: Path) -> None:
        self.target = folder / "target"
        self.project = folder / "project"
        shutil.copytree(PROJECT, self.project, ignore=shutil.ignore_patterns("target"))
        for name, lines in MORE_SEEDS.items():
            with (self.project / "seeds" / f"{name}.csv").open("a", encoding="utf-8") as seed:
                seed.writelines(f"{line}\n" for line in lines)
        self.manifest: Manifest | None = None

    def parse(self, url: str) -> None:
        """Parse the project once. Every run reuses the manifest."""
        self.manifest = cast("Manifest", self._invoke(url, ["parse", "--vars", BOUNDS]))

    def run(self, url: str, *arguments: str) -> None:
        """Run one build, which must succeed."""
        self._invoke(url, [*BUILD, *arguments])

    def _invoke(self, url: str, command: list[str]) -> object:
        result = self._call(url, command)
        assert result.success, result.exception or [
            f"{one.node.name}: {one.message}"
            for one in cast("Any", result.result).results
            if str(one.status) not in ("success", "no-op")
        ]
        return result.result

    def _call(self, url: str, command: list[str]) -> dbtRunnerResult:
        command = [*command, "--quiet", "--log-level-file", "none"]
        for option, place in {"project": self.project, "profiles": self.project}.items():
            command += [f"--{option}-dir", os.fspath(place)]
        command += ["--target-path", os.fspath(self.target), "--log-path", os.fspath(self.target)]
        before = dict(os.environ)
        os.environ.update(dbt_environment(url))
        try:
            return dbtRunner(manifest=self.manifest).invoke(command)
        finally:
            os.environ.clear()
            os.environ.update(before)

    @contextmanager
    def without_changed_orders(self) -> Iterator[None]:
        """Simulate a bug: the affected visitors omit those whose order has a number of a new event."""
        assert self.manifest
        node = cast("Any", self.manifest.nodes[AFFECTED_VISITORS_MODEL])
        original = node.raw_code
        for columns in ("events.order_id, events.transaction_id", "order_id, transaction_id"):
            node.raw_code = node.raw_code.replace(f"where coalesce({columns}) is not null", "where false")
            node.raw_code = node.raw_code.replace(f"and coalesce({columns}) is not null", "and false")
        assert node.raw_code != original
        try:
            yield
        finally:
            node.raw_code = original


def make_sites(examples: int, *, derandomize: bool) -> list[Site]:
    """Return hypothesis examples as a list."""
    made: list[Site] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(sites())
    def collect(site: Site) -> None:
        made.append(site)

    collect()
    return made


def _deliver(connection: psycopg.Connection, made: list[Site], delivery: int) -> None:
    if delivery == DELIVERIES - 1:
        for number, site in enumerate(made):
            connection.execute(
                "update public.sites set timezone = %s, domains = %s where site_id = %s",
                [site.timezones[1], site.domains[1], f"site-{number}"],
            )
    # The load times of every second site lie within the overlap of the next run.
    rows = [
        row
        for number, site in enumerate(made)
        for row in rows_of(
            f"site-{number}", site, delivery, LOADED + timedelta(hours=delivery, minutes=number % 2 * 30)
        )
    ]
    insert_events(connection, rows)


def _marts(connection: psycopg.Connection) -> dict[tuple[str, str], str]:
    """Return a hash of all rows, by mart and site."""
    found: dict[tuple[str, str], str] = {}
    names = connection.execute(
        "select relname from pg_class where relnamespace = 'marts'::regnamespace and relkind in ('r', 'v')"
        " and relname <> 'realtime_metrics'"
    ).fetchall()
    assert len(names) > 10
    for (name,) in names:
        columns = connection.execute(
            "select string_agg(quote_ident(column_name), ', ' order by column_name) from information_schema.columns"
            " where table_schema = 'marts' and table_name = %s",
            [name],
        ).fetchone()
        assert columns
        rows = connection.execute(
            f'select site_id, md5(string_agg(line, chr(10) order by line collate "C"))'
            f" from (select site_id, row({columns[0]})::text as line from marts.{name}) as lines group by site_id"
        ).fetchall()
        found |= {(name, site_id): digest for site_id, digest in rows}
    return found


def _differing(one: dict[tuple[str, str], str], other: dict[tuple[str, str], str]) -> set[tuple[str, str]]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def _copy(admin: psycopg.Connection, name: str, copy: str) -> None:
    admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(copy), sql.Identifier(name)))


def _compare_builds(server: EmbeddedPostgres, folder: Path, made: list[Site], name: str) -> tuple[Builds, str]:
    """Compare incremental and full builds and check that a simulated bug is detected. Return the runner and the URL."""
    with connect(server.url("postgres")) as admin:
        builds = Builds(folder)
        _copy(admin, TEMPLATE, name)
        url = replace_in_url(server.url("postgres"), database=name)
        builds.parse(url)
        with connect(url) as connection:
            for month in ("2026-09-01", "2026-10-01", "2026-11-01", "2026-12-01"):
                connection.execute("select ops.make_month(%s)", [month])
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(
                    "insert into public.sites (site_id, name, domains, timezone, public_key)"
                    " values (%s, 'Site', %s, %s, %s)",
                    [
                        (f"site-{number}", site.domains[0], site.timezones[0], f"key-{number}")
                        for number, site in enumerate(made)
                    ],
                )
            _deliver(connection, made, 0)
        # an interrupted first build, followed by a complete build
        builds.run(url, "--select", "+int_events_sessionised")
        builds.run(url)
        after_first = f"{name}_after_first"
        _copy(admin, name, after_first)
        with connect(url) as connection:
            _deliver(connection, made, 1)
            # an interrupted run: the next run must build the omitted models
            builds.run(url, "--exclude", "fct_sessions+", "int_persons+", "tag:daily")
            _deliver(connection, made, 2)
            builds.run(url)
            assert connection.execute("select distinct build from ops.watermarks").fetchall() == [(3,)]
            incremental = _marts(connection)

        # Repeat with a bug. The database keeps its name, because the parsed manifest contains the name.
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        _copy(admin, after_first, name)
        with connect(url) as connection:
            _deliver(connection, made, 1)
            _deliver(connection, made, 2)
            with builds.without_changed_orders():
                builds.run(url)
            with_bug = _marts(connection)
            builds.run(url, "--full-refresh")
            full = _marts(connection)
        assert len(full) > 5 * len(made)
        assert not _differing(incremental, full)
        assert _differing(with_bug, full)
        return builds, url


def test_incremental_builds_equal_a_full_refresh(postgres_server: EmbeddedPostgres, tmp_path: Path) -> None:
    _compare_builds(postgres_server, tmp_path, make_sites(150, derandomize=True), "incremental")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_incremental_builds_equal_a_full_refresh_for_many_sites(
    postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    builds, url = _compare_builds(postgres_server, tmp_path, make_sites(5_000, derandomize=False), "incremental_many")
    with connect(url) as connection:
        before = _marts(connection)
        # A month that exists only as an archive file: a full refresh must keep its rows.
        connection.execute("delete from public.events where created_at >= '2026-10-01' and created_at < '2026-11-01'")
        connection.execute(
            "insert into archive.cold_files (month, url, row_count, byte_count, checksum, dropped_at)"
            " values ('2026-10-01', 'file:///gone', 1, 1, '', now())"
        )
        builds.run(url, "--full-refresh")
        assert not _differing(before, _marts(connection))
