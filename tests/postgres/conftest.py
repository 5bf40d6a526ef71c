"""Fixtures of the Postgres tests. Tests whose program is not installed are skipped; the report header lists them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from psycopg import sql

from tests.postgres.security_table import DEBIAN_15
from warehouse.kit import migrations
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import EmbeddedPostgres

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

collect_ignore = [] if PGBOUNCER else ["test_pgbouncer.py"]


def pytest_report_header() -> list[str]:
    """List the programs whose absence skips tests."""
    missing = [("PgBouncer", PGBOUNCER is None), ("Postgres 15", not DEBIAN_15.exists())]
    return [f"tests skipped, not installed (run make servers): {name}" for name, is_missing in missing if is_missing]


@pytest.fixture(scope="session")
def _old_template(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Create a template database with migrations up to 0011, before the keys of events included the site."""
    folder = tmp_path_factory.mktemp("old_sql")
    for file in migrations.SQL_DIR.glob("*.sql"):
        if file.name < "0012":
            shutil.copy(file, folder)
    name = "old_template"
    postgres_server.ensure_database(name)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrations, "SQL_DIR", folder)
        migrations.migrate(postgres_server.url(name))
    return name


@pytest.fixture
def old_database_url(
    postgres_server: EmbeddedPostgres, _old_template: str, _database_numbers: Iterator[int]
) -> Iterator[str]:
    """Yield the owner's URL of a new database of the old release, with the sites `shop` and `blog`."""
    name = f"old_{next(_database_numbers)}"
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(_old_template))
        )
        url = postgres_server.url(name)
        with connect(url) as owner:  # `add_site` needs columns that the old release lacks
            for site in ("shop", "blog"):
                owner.execute(
                    "insert into public.sites (site_id, name, domains, public_key) values (%s, %s, %s, %s)",
                    [site, site, [f"{site}.example"], f"pk_{site}"],
                )
        yield url
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
