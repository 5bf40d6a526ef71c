"""The Dagster code location. `tilda up` runs it; `dagster dev -w workspace.yaml` opens it for development."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.defs.archive import schedules as archive_schedules
from orchestration.defs.dbt import assets as dbt_assets
from orchestration.defs.dbt import schedules as dbt_schedules
from orchestration.defs.partitions import schedules as partition_schedules
from orchestration.defs.privacy import schedules as privacy_schedules
from orchestration.defs.propensity import checks as propensity_checks
from orchestration.defs.propensity import schedules as propensity_schedules
from orchestration.defs.retention import schedules as retention_schedules
from orchestration.lib.dbt import dbt_resource
from orchestration.lib.warehouse import Warehouse
from orchestration.python_assets import PYTHON_ASSETS


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Build the asset graph that production and tests share.

    Args:
        resource_overrides: Resources by name that replace `warehouse` or `dbt`.
    """
    return dg.Definitions(
        assets=[dbt_assets.dbt_models, *PYTHON_ASSETS],
        asset_checks=propensity_checks.CHECKS,
        schedules=[
            partition_schedules.daily,
            archive_schedules.daily,
            retention_schedules.daily,
            privacy_schedules.hourly,
            dbt_schedules.hourly,
            dbt_schedules.nightly,
            propensity_schedules.daily,
        ],
        resources={"warehouse": Warehouse(), "dbt": dbt_resource(dbt_assets.project), **(resource_overrides or {})},
        # Run all steps of a run in one process: a process per step would add 10 to 20 seconds and save no memory.
        executor=dg.in_process_executor,
    )


defs = build_defs()
