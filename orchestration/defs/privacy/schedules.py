"""When erasures that were cut short are finished."""

import dagster as dg

hourly = dg.ScheduleDefinition(
    name="erasures_hourly",
    description="Finishes the erasures of persons that were cut short.",
    target=dg.AssetSelection.assets(["ops", "erasures"]),
    cron_schedule="50 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
