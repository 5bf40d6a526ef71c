"""When expired rows are deleted."""

import dagster as dg

daily = dg.ScheduleDefinition(
    name="retention_daily",
    description="Deletes rows that have been kept for as long as the settings say.",
    target=dg.AssetSelection.assets(["ops", "expired_rows"]),
    cron_schedule="20 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
