"""What must hold of scores, whatever the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.defs.propensity.assets import propensity_model, propensity_scores
from orchestration.lib.warehouse import Warehouse
from warehouse.queries import read_query

SQL = Path(__file__).parent / "sql"
MEAN_WITHIN = 3.0


@dg.asset_check(asset=propensity_scores, blocking=True)
def every_active_visitor_is_scored_once(warehouse: Warehouse) -> dg.AssetCheckResult:
    """A champion's scores cover exactly the visitors of the newest cut-off."""
    with warehouse.connect() as connection:
        row = connection.execute(read_query(SQL, "scores_against_visitors")).fetchone()
    missing, unexpected = row or (0, 0)
    return dg.AssetCheckResult(
        passed=missing == 0 and unexpected == 0, metadata={"missing": missing, "unexpected": unexpected}
    )


@dg.asset_check(asset=propensity_scores)
def mean_score_is_near_the_base_rate(warehouse: Warehouse) -> dg.AssetCheckResult:
    """The mean score of a site lies within a factor of three of the share that reached the target in training."""
    with warehouse.connect() as connection:
        rows = connection.execute(read_query(SQL, "mean_scores")).fetchall()
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
    """Neither features nor scores have drifted since the training, and the newest known scores kept their word."""
    with warehouse.connect() as connection:
        rows = connection.execute(read_query(SQL, "newest_drift")).fetchall()
    told = [f"{site_id}, {target}: {_what_changed(drift, outcomes)}" for site_id, target, drift, outcomes in rows]
    return dg.AssetCheckResult(passed=not told, severity=dg.AssetCheckSeverity.WARN, metadata={"drifted": told})


def _what_changed(drift: list[dict[str, Any]], outcomes: list[dict[str, Any]]) -> str:
    moved = [f"{one['label']} ({one['psi']:.2f})" for one in drift if one["moved"]]
    parts = [f"moved: {', '.join(moved)}"] if moved else []
    parts += [
        f"{one['expected']:.0f} were expected on {one['as_of'][:10]} and {one['converted']} came"
        for one in outcomes
        if not one["kept"]
    ]
    return "; ".join(parts) or "the newest outcomes do not fit the scores"


CHECKS: Sequence[dg.AssetChecksDefinition] = (
    every_active_visitor_is_scored_once,
    mean_score_is_near_the_base_rate,
    visitors_behave_as_the_model_learned,
)
