"""Schedule of training and scoring."""

import dagster as dg

from orchestration.defs.propensity.assets import FEATURES

daily = dg.ScheduleDefinition(
    name="propensity_daily",
    description="Builds the features, trains models, scores visitors and publishes to MindsDB, once a day.",
    target=dg.AssetSelection.assets(FEATURES).upstream().downstream() & dg.AssetSelection.groups("ml")
    | dg.AssetSelection.assets(FEATURES).upstream(),
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
