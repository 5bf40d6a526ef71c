"""Schedule of the deletion of expired rows."""

import dagster as dg

daily = dg.ScheduleDefinition(
    name="retention_daily",
    description="Deletes rows that are older than the settings allow.",
    target=dg.AssetSelection.assets(["ops", "expired_rows"]),
    cron_schedule="20 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
