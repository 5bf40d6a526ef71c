"""Fixtures: one database and one dbt build, shared by the tests in this folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tests.conftest import TEMPLATE
from tests.dbt.channel_events import channel_events
from tests.dbt.dbt_project import run_dbt
from tests.dbt.events import LOG_SITE, add_sites, crowded_events, hostile_events, insert_events, shared_device_events
from tests.dbt.rule_cases import case_rows
from tests.e2e.sample_log import SAMPLE_LOG
from warehouse.events.imports import import_file
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres

DATABASE = "models"
HASH_KEY = "key"


def until(change: str) -> pytest.MarkDecorator:
    """Mark a test that the models do not pass before a change. Remove the mark with the change.

    A failure to build the models is not expected.
    """
    raises = (AssertionError, KeyError, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable)
    return pytest.mark.xfail(strict=True, reason=f"until {change}", raises=raises)


@dataclass
class Models:
    """A connection to the database with the built models and their source events.

    Attributes:
        connection: Rows are dictionaries.
        target: dbt's target folder, which contains the compiled SQL.
    """

    connection: psycopg.Connection[dict[str, Any]]
    target: Path

    def rows(self, query: str) -> list[dict[str, Any]]:
        return self.connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def models(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Load edge-case events, shared identifiers and a real log, and run `dbt build` with all dbt tests."""
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(DATABASE), sql.Identifier(TEMPLATE))
        )
    url = replace_in_url(postgres_server.url("postgres"), database=DATABASE)
    with connect(url) as connection:
        add_sites(connection)
        connection.execute("select ops.make_month('2026-10-01')")
        insert_events(connection, hostile_events(seed=7, visits=900))
        insert_events(connection, crowded_events())
        insert_events(connection, shared_device_events())
        insert_events(connection, channel_events())
        insert_events(connection, case_rows())
        import_file(url, SAMPLE_LOG, site_id=LOG_SITE, format="access-log", hash_key=HASH_KEY)
        target = tmp_path_factory.mktemp("dbt")
        run_dbt(url, target, "build")
        connection.row_factory = dict_row  # type: ignore[assignment]
        yield Models(connection, target)  # type: ignore[arg-type]
