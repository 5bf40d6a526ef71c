"""Erasure removes a person from every model of a real dbt build."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.dbt.conftest import DATABASE, Models
from tests.dbt.events import BEGIN, CROWDED_SITE, HOSTILE_SITES, WRONG_CLOCK
from tests.postgres import security_table
from warehouse.kit.database import PRIVACY_LOGIN, connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres, programs
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.privacy.erase import erase
from warehouse.privacy.export import export
from warehouse.privacy.places import impersonal_tables

# Tables without data of single persons. A new table without a visitor, session or person column must be added here or
# in warehouse.privacy.places.
IMPERSONAL = {
    "custom.own_exchange_rates",
    "custom.own_funnels",
    "custom.own_goals",
    "intermediate.int_cutoffs",
    "intermediate.int_retention",
    "intermediate.time_spine_daily",
    "marts.daily_acquisition",
    "marts.daily_metrics",
    "marts.daily_pages",
    "marts.daily_revenue",
    "marts.daily_totals",
    "marts.funnel_daily",
    "marts.funnel_steps",
    "marts.retention_cohorts",
    "ml.model_versions",
}


@pytest.fixture
def copied_url(models: Models, postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Copy the built database for an erasure and yield the URL of the copy."""
    # Postgres cannot copy a database with open connections.
    models.connection.close()
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute("create database models_without template models")
    models.connection = psycopg.connect(  # type: ignore[assignment]
        replace_in_url(postgres_server.url("postgres"), database=DATABASE),
        autocommit=True,
        row_factory=psycopg.rows.dict_row,
    )
    yield postgres_server.url("models_without")
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute("drop database models_without with (force)")


def test_erased_person_is_in_no_model(copied_url: str, secrets: Secrets, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    with connect(copied_url) as owner:
        assert impersonal_tables(owner) == IMPERSONAL
        names = security_table.tables(owner)
        assert security_table.actual_rights(owner, names) == security_table.expected_rights(names)
        # The person with the most visitor IDs and, among equals, the most sessions.
        site, person = owner.execute(
            "select site_id, person_id from marts.visitors where site_id = any(%s) group by 1, 2"
            " order by count(*) desc, sum(session_count) desc limit 1",
            [list(HOSTILE_SITES)],
        ).fetchone() or ("", "")
        ids = [
            row[0]
            for row in owner.execute(
                "select user_id from marts.visitors where site_id = %s and person_id = %s", [site, person]
            )
        ]
    url = replace_in_url(copied_url, user=PRIVACY_LOGIN, password=secrets.privacy_password)
    held = {place["place"]: place["count"] for place in export(url, settings, site, ids[0])["held"]}
    assert {
        "public.events",
        "intermediate.fct_visitors",
        "intermediate.fct_sessions",
        "intermediate.int_events_sessionised",
    } <= held.keys()
    done = erase(url, settings, site, ids[0])
    assert done.left == 0
    assert set(ids) <= set(done.visitor_ids)
    # The person's events without an ID have synthetic `anonymous:` IDs in the models.
    assert all(one.startswith("anonymous:") for one in set(done.visitor_ids) - set(ids))
    assert {place: number for place, number in done.removed.items() if number and place in held} == held
    dump = subprocess.run(
        [programs(18) / "pg_dump", "--data-only", "--inserts", f"--dbname={copied_url}"],
        check=True,
        capture_output=True,
    ).stdout.decode()
    # The visitor IDs of these tests are not unique across sites, so compare only rows of the same site.
    rows = [line for line in dump.splitlines() if f"'{site}'" in line]
    assert [row for row in rows for one in done.visitor_ids if f"'{one}'" in row] == []
    # The day of the corrected event time is rebuilt, even if the sender's clock was wrong.
    assert erase(url, settings, CROWDED_SITE, WRONG_CLOCK).left == 0
    with connect(copied_url) as owner:
        days = owner.execute("select event_date from ops.rebuild_days where site_id = %s", [CROWDED_SITE]).fetchall()
    assert (BEGIN.date(),) in days
