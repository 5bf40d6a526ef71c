"""When models are trained and visitors scored."""

import dagster as dg

from orchestration.defs.propensity.assets import FEATURES

daily = dg.ScheduleDefinition(
    name="propensity_daily",
    description="Builds the features, trains, decides, scores and publishes, after the night has come in.",
    target=dg.AssetSelection.assets(FEATURES).upstream().downstream() & dg.AssetSelection.groups("ml")
    | dg.AssetSelection.assets(FEATURES).upstream(),
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
