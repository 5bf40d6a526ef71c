from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestration.lib.dbt import (
    PROJECT_DIR,
    add_templates,
    dbt_environment,
    is_stale,
    link_project,
    project_folder,
    sources_hash,
)
from orchestration.lib.metadata import table
from warehouse.kit.settings import Settings


@dataclass(frozen=True)
class Count:
    site_id: str
    as_of: datetime
    examples: int
    share: float | None


def test_records_become_a_typed_table() -> None:
    found = table(
        [Count("a", datetime(2026, 1, 1, tzinfo=UTC), 3, 0.5), Count("b", datetime(2026, 1, 8, tzinfo=UTC), 4, None)]
    )
    assert [record.data for record in found.records] == [
        {"site_id": "a", "as_of": "2026-01-01T00:00:00+00:00", "examples": 3, "share": 0.5},
        {"site_id": "b", "as_of": "2026-01-08T00:00:00+00:00", "examples": 4, "share": None},
    ]
    assert {column.name: column.type for column in found.schema.columns} == {
        "site_id": "string", "as_of": "string", "examples": "int", "share": "float",
    }  # fmt: skip


def test_an_empty_table_says_none() -> None:
    assert table([]).text == "none"


def test_dbt_gets_the_parts_of_a_url() -> None:
    given = dbt_environment("postgresql://ow%40ner:p%2Fw@db.example:6543/main?sslmode=require&sslrootcert=/ca.crt")
    assert {name: value for name, value in given.items() if name.startswith("DBT_")} == {
        "DBT_HOST": "db.example",
        "DBT_PORT": "6543",
        "DBT_USER": "ow@ner",
        "DBT_PASSWORD": "p/w",
        "DBT_DATABASE": "main",
        "DBT_SSLMODE": "require",
    }
    # The dbt profile has no field for these parameters; libpq reads them from the environment.
    assert given["PGSSLROOTCERT"] == "/ca.crt"


@pytest.mark.parametrize(
    "url", ["postgresql:///main?host=/run/postgresql&user=owner", "host=/run/postgresql dbname=main user=owner"]
)
def test_dbt_connects_through_a_unix_socket(url: str) -> None:
    given = dbt_environment(url)
    assert (given["DBT_HOST"], given["DBT_USER"], given["DBT_DATABASE"]) == ("/run/postgresql", "owner", "main")


def test_a_manifest_is_stale_when_a_model_changed_regardless_of_mtime(tmp_path: Path) -> None:
    model = tmp_path / "models" / "a.sql"
    model.parent.mkdir()
    model.write_text("select 1")
    manifest = tmp_path / "target" / "manifest.json"
    assert is_stale(manifest, tmp_path)
    manifest.parent.mkdir()
    manifest.write_text("{}")
    manifest.with_suffix(".sha256").write_text(sources_hash(tmp_path))
    assert not is_stale(manifest, tmp_path)
    model.write_text("select 2")
    os.utime(model, (1_000_000_000, 1_000_000_000))
    assert is_stale(manifest, tmp_path)


def test_templates_of_custom_models_replace_no_file_of_the_owner(tmp_path: Path) -> None:
    add_templates(tmp_path)
    goals = tmp_path / "seeds" / "own_goals.csv"
    header = goals.read_text()
    goals.write_text(header + "prices,Price list,,page_view,/prices%,,\n")
    (tmp_path / "seeds" / "own_funnels.csv").unlink()
    add_templates(tmp_path)
    assert goals.read_text().count("\n") == 2
    assert (tmp_path / "seeds" / "own_funnels.csv").exists()


def test_the_linked_project_has_the_product_and_the_owners_models(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    (project_folder(settings)).mkdir(parents=True)
    (project_folder(settings) / "models").symlink_to(tmp_path)  # of a former version in another folder
    link_project(settings)
    linked = project_folder(settings)
    assert (linked / "models").resolve() == PROJECT_DIR / "models"
    assert (linked / "custom").resolve() == (tmp_path / "custom").resolve()
    assert (linked / "dbt_project.yml").exists()
