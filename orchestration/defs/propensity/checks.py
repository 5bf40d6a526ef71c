"""Asset checks of scores and models."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from orchestration.defs.propensity.assets import model_versions, propensity_scores
from orchestration.lib.warehouse import Warehouse
from warehouse.propensity import quality

MAX_RATIO = 3.0
"""Factor by which the mean score may differ from the base rate."""


@dg.asset_check(asset=propensity_scores, blocking=True)
def every_active_visitor_is_scored_once(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Each visitor of the newest cut-off has exactly one score per champion, and no other visitor has a score."""
    with warehouse.connect() as connection:
        missing, unexpected = quality.compare_scores_with_visitors(connection)
    return dg.AssetCheckResult(
        passed=missing == 0 and unexpected == 0,
        metadata={"visitors_without_score": missing, "scores_without_visitor": unexpected},
    )


@dg.asset_check(asset=propensity_scores)
def mean_score_is_near_the_base_rate(warehouse: Warehouse) -> dg.AssetCheckResult:
    """The mean score is within a factor of 3 of the base rate, the share of positives in the model's holdout data."""
    with warehouse.connect() as connection:
        means = quality.mean_scores(connection)
    outside = [
        f"{one.site_id}, {one.target}: mean score {one.mean_score:.4f}, base rate {one.base_rate:.4f}"
        for one in means
        if one.base_rate and not one.base_rate / MAX_RATIO <= one.mean_score <= one.base_rate * MAX_RATIO
    ]
    return dg.AssetCheckResult(
        passed=not outside,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"compared": len(means), "outside_the_range": outside},
    )


@dg.asset_check(asset=model_versions)
def visitors_behave_as_the_model_learned(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Features and scores have not drifted since training, and the newest known outcomes match the scores."""
    with warehouse.connect() as connection:
        found = quality.newest_drift(connection)
    drifted = [f"{one.site_id}, {one.target}: {_describe_drift(one.drift, one.outcomes)}" for one in found]
    return dg.AssetCheckResult(passed=not drifted, severity=dg.AssetCheckSeverity.WARN, metadata={"drifted": drifted})


def _describe_drift(drift: list[dict[str, Any]], outcomes: list[dict[str, Any]]) -> str:
    moved = [f"{one['label']} ({one['psi']:.2f})" for one in drift if one["moved"]]
    parts = [f"drifted: {', '.join(moved)}"] if moved else []
    parts += [
        f"scores of {one['as_of'][:10]}: {one['expected']:.0f} positives expected, {one['converted']} observed"
        for one in outcomes
        if not one["kept"]
    ]
    return "; ".join(parts) or "the newest outcomes do not match the scores"


CHECKS: Sequence[dg.AssetChecksDefinition] = (
    every_active_visitor_is_scored_once,
    mean_score_is_near_the_base_rate,
    visitors_behave_as_the_model_learned,
)
