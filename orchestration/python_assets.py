"""The assets that are written in Python; the others are dbt models."""

from __future__ import annotations

import dagster as dg

from orchestration.defs.archive import assets as archive_assets
from orchestration.defs.mindsdb import assets as mindsdb_assets
from orchestration.defs.partitions import assets as partition_assets
from orchestration.defs.privacy import assets as privacy_assets
from orchestration.defs.propensity import assets as propensity_assets
from orchestration.defs.retention import assets as retention_assets

PYTHON_ASSETS: list[dg.AssetsDefinition] = [
    partition_assets.event_partitions,
    archive_assets.archived_months,
    retention_assets.expired_rows,
    privacy_assets.erasures,
    propensity_assets.training_set,
    propensity_assets.model_versions,
    propensity_assets.propensity_scores,
    mindsdb_assets.mindsdb_model,
]
