"""Asset checks of scores and models."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from orchestration.defs.propensity.assets import propensity_model, propensity_scores
from orchestration.lib.warehouse import Warehouse
from warehouse.propensity import scores, versions

MEAN_WITHIN = 3.0


@dg.asset_check(asset=propensity_scores, blocking=True)
def every_active_visitor_is_scored_once(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Each visitor of the newest cut-off has exactly one score per champion, and no other visitor has a score."""
    with warehouse.connect() as connection:
        missing, unexpected = scores.unmatched_scores(connection)
    return dg.AssetCheckResult(
        passed=missing == 0 and unexpected == 0, metadata={"missing": missing, "unexpected": unexpected}
    )


@dg.asset_check(asset=propensity_scores)
def mean_score_is_near_the_base_rate(warehouse: Warehouse) -> dg.AssetCheckResult:
    """The mean score is within a factor of 3 of the base rate, the share of positives in the model's holdout data."""
    with warehouse.connect() as connection:
        rows = scores.mean_scores(connection)
    odd = [
        f"{site_id}, {target}: mean score {mean:.4f}, base rate {rate:.4f}"
        for site_id, target, mean, rate in rows
        if rate and not rate / MEAN_WITHIN <= mean <= rate * MEAN_WITHIN
    ]
    return dg.AssetCheckResult(
        passed=not odd, severity=dg.AssetCheckSeverity.WARN, metadata={"scorings": len(rows), "odd": odd}
    )


@dg.asset_check(asset=propensity_model)
def visitors_behave_as_the_model_learned(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Features and scores have not drifted since training, and the newest known outcomes match the scores."""
    with warehouse.connect() as connection:
        rows = versions.drifted(connection)
    drifted = [f"{one.site_id}, {one.target}: {_describe_drift(one.drift, one.outcomes)}" for one in rows]
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
