"""When months are made."""

import dagster as dg

daily = dg.ScheduleDefinition(
    name="partitions_daily",
    description="Makes the months that events of the next weeks will need.",
    target=dg.AssetSelection.assets(["ops", "event_partitions"]),
    cron_schedule="10 0 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
