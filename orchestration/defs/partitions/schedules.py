"""Schedule of the partition maintenance."""

import dagster as dg

daily = dg.ScheduleDefinition(
    name="partitions_daily",
    description="Creates the partitions for the events of the next months.",
    target=dg.AssetSelection.assets(["ops", "event_partitions"]),
    cron_schedule="10 0 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
