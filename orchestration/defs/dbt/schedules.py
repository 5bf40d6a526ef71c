"""Schedules of the dbt builds."""

import dagster as dg
from dagster_dbt import build_dbt_asset_selection

from orchestration.defs.dbt.assets import dbt_models

# Models tagged `daily` (the features) change once a day, at midnight of the site; propensity_daily builds them.
# Checks read complete tables, so they run only at night; contracts and unique indexes are enforced in every build.
hourly = dg.ScheduleDefinition(
    name="models_hourly",
    description="Updates the models with the events of the last hour. Run time depends on the number of new events.",
    target=build_dbt_asset_selection([dbt_models], dbt_exclude="tag:daily").without_checks(),
    cron_schedule="5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

nightly = dg.ScheduleDefinition(
    name="models_nightly",
    description="Updates all models and runs their data tests.",
    target=dg.AssetSelection.assets(dbt_models),
    cron_schedule="35 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
