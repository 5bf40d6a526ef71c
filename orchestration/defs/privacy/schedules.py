"""Schedule of the asset that finishes interrupted erasures."""

import dagster as dg

hourly = dg.ScheduleDefinition(
    name="erasures_hourly",
    description="Finishes erasures of personal data that a crash or a restart interrupted.",
    target=dg.AssetSelection.assets(["ops", "erasures"]),
    cron_schedule="50 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
