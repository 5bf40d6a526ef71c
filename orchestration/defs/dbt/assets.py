"""Dagster assets from the dbt project: each model is an asset, each data test is an asset check."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from orchestration.lib.dbt import Translator, dbt_environment, load_project
from orchestration.lib.warehouse import Warehouse
from warehouse.kit import locks

project = load_project()


@dbt_assets(manifest=project.manifest_path, project=project, dagster_dbt_translator=Translator(), name="dbt_models")
def dbt_models(context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: Warehouse) -> Iterator[Any]:
    """Build the selected dbt models and run their data tests.

    dbt unit tests are excluded: the project's test suite runs them. A Postgres advisory lock serialises builds, because
    two concurrent builds would rename each other's tables.
    """
    os.environ.update(dbt_environment(warehouse.url()))
    with warehouse.connect() as connection, locks.held(connection, locks.BUILD_LOCK):
        # Use one target folder for all runs: by default each run creates a folder, and hourly runs would fill the disk.
        target = project.project_dir / project.target_path / "build"
        build = dbt.cli(["build", "--exclude-resource-type", "unit_test"], context=context, target_path=target)
        yield from build.stream().fetch_row_counts()
