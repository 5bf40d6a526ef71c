"""When models are built."""

import dagster as dg
from dagster_dbt import build_dbt_asset_selection

from orchestration.defs.dbt.assets import dbt_models

# The features are of midnights: an hour would only repeat them. They are built with the scores (propensity_daily).
# Checks read whole tables, so they are left to the night; contracts and unique indexes hold at any time.
hourly = dg.ScheduleDefinition(
    name="models_hourly",
    description="Brings the models up to date with what has arrived; its cost follows what is new.",
    target=build_dbt_asset_selection([dbt_models], dbt_exclude="tag:daily").without_checks(),
    cron_schedule="5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

nightly = dg.ScheduleDefinition(
    name="models_nightly",
    description="Brings all models up to date and runs their tests.",
    target=dg.AssetSelection.assets(dbt_models),
    cron_schedule="35 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
