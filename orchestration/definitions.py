"""Everything that Dagster knows: `dagster dev -w workspace.yaml` shows it, `tilda up` runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.defs.archive import assets as archive_assets
from orchestration.defs.archive import schedules as archive_schedules
from orchestration.defs.dbt import assets as dbt_assets
from orchestration.defs.dbt import schedules as dbt_schedules
from orchestration.defs.mindsdb import assets as mindsdb_assets
from orchestration.defs.partitions import assets as partition_assets
from orchestration.defs.partitions import schedules as partition_schedules
from orchestration.defs.privacy import assets as privacy_assets
from orchestration.defs.privacy import schedules as privacy_schedules
from orchestration.defs.propensity import assets as propensity_assets
from orchestration.defs.propensity import checks as propensity_checks
from orchestration.defs.propensity import schedules as propensity_schedules
from orchestration.defs.retention import assets as retention_assets
from orchestration.defs.retention import schedules as retention_schedules
from orchestration.lib.dbt import dbt_resource
from orchestration.lib.warehouse import Warehouse


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The one graph of production and tests.

    Args:
        resource_overrides: Resources to use in place of `warehouse` and `dbt`.
    """
    return dg.Definitions(
        assets=[
            partition_assets.event_partitions,
            archive_assets.archived_months,
            retention_assets.expired_rows,
            privacy_assets.erasures,
            dbt_assets.dbt_models,
            propensity_assets.training_set,
            propensity_assets.propensity_model,
            propensity_assets.propensity_scores,
            mindsdb_assets.mindsdb_model,
        ],
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
        # One process a run: a process for each step would cost 10 to 20 seconds more and hold no less memory.
        executor=dg.in_process_executor,
    )


defs = build_defs()
