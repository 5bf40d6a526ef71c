"""Propensity assets: the training set, the model versions and the scores.

Assets pass no data frames to each other: personal data stays in Postgres, with no copy in Dagster's storage. Each asset
imports `steps` when it runs: scikit-learn takes seconds to import, and every Dagster process loads this file.
"""

from typing import Any

import dagster as dg

from ml.features import Target, load_targets
from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse.kit.settings import load_settings
from warehouse.propensity import store

FEATURES = dg.AssetKey(["marts", "visitor_features"])
OWNERS = ["team:data"]


def _targets() -> list[Target]:
    """Return the prediction targets from the current targets file."""
    return list(load_targets(load_settings().targets_file).values())


@dg.asset(key=["ml", "training_set"], deps=[FEATURES], group_name="ml", kinds={"postgres"}, owners=OWNERS)
def training_set(warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Count the training examples and positives of each site, target and cut-off.

    The examples are the rows of `marts.visitor_features` whose label is known; this asset stores no copy of them.
    """
    from orchestration.defs.propensity import steps

    with warehouse.connect() as connection:
        counts = [count for target in _targets() for count in steps.count_examples(connection, target)]
    return dg.MaterializeResult(
        metadata={
            "examples": sum(count.examples for count in counts),
            "positives": sum(count.positives for count in counts),
            "by_site_and_target": table(counts),
        }
    )


@dg.asset(key=["ml", "model_versions"], deps=[training_set], group_name="ml", kinds={"scikitlearn"}, owners=OWNERS)
def model_versions(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Train a model for each site and target with enough examples, and decide whether to promote it to champion.

    Every decision is recorded in `ml.model_versions` with its reason. If a site has too few examples, no model is
    trained, and the reason tells the site's owner what is missing.
    """
    from orchestration.defs.propensity import steps

    settings = load_settings()
    runs: list[steps.TrainingRun] = []
    with warehouse.connect() as connection:
        for site_id in store.sites_with_features(connection):
            for target in _targets():
                run = steps.train(
                    connection,
                    site_id,
                    target,
                    min_positives=settings.min_positives,
                    pages=settings.data_dir / "reports",
                )
                context.log.info("%s, %s: %s: %s", site_id, target.name, run.summary.decision, run.summary.reason)
                runs.append(run)
    return dg.MaterializeResult(
        metadata={
            "promoted": sum(run.summary.decision == "promoted" for run in runs),
            "drifted": sum(bool(run.summary.drifted) for run in runs),
            "decisions": table([run.summary for run in runs]),
            "report": dg.MetadataValue.md(
                "\n\n".join(f"### {run.summary.site_id}, {run.summary.target}\n\n{run.markdown}" for run in runs)
            ),
        }
    )


@dg.asset(
    key=["ml", "propensity_scores"],
    deps=[model_versions, FEATURES],
    group_name="ml",
    kinds={"scikitlearn", "postgres"},
    owners=OWNERS,
)
def propensity_scores(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Score every visitor who was active in the 28 days before the newest cut-off, with the site's champion models.

    The asset is idempotent: a second run for the same cut-off replaces the scores of the first.
    """
    from orchestration.defs.propensity import steps

    runs: list[steps.ScoringRun] = []
    with warehouse.connect() as connection:
        for site_id in store.sites_with_features(connection):
            for target in _targets():
                run = steps.score(connection, site_id, target)
                if run is None:
                    context.log.info("%s, %s: not scored, there is no champion model", site_id, target.name)
                else:
                    runs.append(run)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(run.visitors for run in runs),
            "by_site_and_target": table(runs),
        }
    )
