"""When models are built."""

import dagster as dg

from orchestration.defs.dbt.assets import dbt_models

hourly = dg.ScheduleDefinition(
    name="models_hourly",
    description="Brings the models up to date with what has arrived.",
    target=dg.AssetSelection.assets(dbt_models),
    cron_schedule="5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
