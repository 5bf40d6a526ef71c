"""Every dbt model is an asset, every dbt test a check of one."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from orchestration.lib.dbt import Translator, dbt_environment, load_project
from orchestration.lib.warehouse import Warehouse

project = load_project()


@dbt_assets(manifest=project.manifest_path, project=project, dagster_dbt_translator=Translator(), name="dbt_models")
def dbt_models(context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: Warehouse) -> Iterator[Any]:
    """Builds the models and runs their data tests; unit tests belong to the test suite.

    Two builds at a time would rename each other's tables away, so a lock in Postgres lets one go first.
    """
    os.environ.update(dbt_environment(warehouse.url()))
    with warehouse.only_one("dbt"):
        # one folder for all runs: by default each leaves one of its own, and the disk fills by the hour
        target = project.project_dir / project.target_path / "build"
        build = dbt.cli(["build", "--exclude-resource-type", "unit_test"], context=context, target_path=target)
        yield from build.stream().fetch_row_counts()
