"""Schedule of the archiving."""

import dagster as dg

daily = dg.ScheduleDefinition(
    name="archive_daily",
    description="Moves old months of events to the archive, and later to cold storage.",
    target=dg.AssetSelection.assets(["archive", "event_months"]),
    cron_schedule="40 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
