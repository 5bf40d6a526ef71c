"""From feature rows to scores: what is learned from, the model, the scores.

No frame is handed from asset to asset: rows of persons stay in Postgres, and no copy of them lies in Dagster's storage.
Steps are imported when they run: scikit-learn takes seconds, and every process of Dagster's loads this file.
"""

from typing import Any

import dagster as dg

from ml.features import Target, load_targets
from orchestration.lib.metadata import table
from orchestration.lib.warehouse import Warehouse
from warehouse import propensity
from warehouse.settings import load_settings

FEATURES = dg.AssetKey(["marts", "visitor_features"])
OWNERS = ["team:data"]


def _targets() -> list[Target]:
    """What is predicted, as declared now."""
    return list(load_targets(load_settings().targets_file).values())


@dg.asset(key=["ml", "training_set"], deps=[FEATURES], group_name="ml", kinds={"postgres"}, owners=OWNERS)
def training_set(warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Counts what can be learned from: examples and positives of each site, target and cut-off.

    The rows themselves are those of `marts.visitor_features` whose label is known.
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
def propensity_model(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Trains a model for each site and target that has grounds, and decides whether it becomes the champion.

    A site without grounds gets a record that says what is missing, in words for a marketer.
    """
    from orchestration.defs.propensity import steps

    settings = load_settings()
    trained: list[steps.Trained] = []
    with warehouse.connect() as connection:
        for site_id in propensity.sites_with_features(connection):
            for target in _targets():
                one = steps.train(
                    connection,
                    site_id,
                    target,
                    min_positives=settings.min_positives,
                    pages=settings.data_dir / "reports",
                )
                context.log.info("%s, %s: %s: %s", site_id, target.name, one.decided.decision, one.decided.reason)
                trained.append(one)
    return dg.MaterializeResult(
        metadata={
            "promoted": sum(one.decided.decision == "promoted" for one in trained),
            "drifted": sum(bool(one.decided.drifted) for one in trained),
            "decisions": table([one.decided for one in trained]),
            "report": dg.MetadataValue.md(
                "\n\n".join(f"### {one.decided.site_id}, {one.decided.target}\n\n{one.markdown}" for one in trained)
            ),
        }
    )


@dg.asset(
    key=["ml", "propensity_scores"],
    deps=[propensity_model, FEATURES],
    group_name="ml",
    kinds={"scikitlearn", "postgres"},
    owners=OWNERS,
)
def propensity_scores(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Scores every visitor who was active in the 28 days before the newest cut-off, with the site's champion.

    Running it again for the same cut-off puts the same scores in place of the old ones.
    """
    from orchestration.defs.propensity import steps

    written: list[steps.Scored] = []
    with warehouse.connect() as connection:
        for site_id in propensity.sites_with_features(connection):
            for target in _targets():
                scored = steps.score(connection, site_id, target)
                if scored is None:
                    context.log.info("%s, %s: no champion, so no scores", site_id, target.name)
                else:
                    written.append(scored)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(scored.visitors for scored in written),
            "by_site_and_target": table(written),
        }
    )
