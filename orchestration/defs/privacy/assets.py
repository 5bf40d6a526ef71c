"""Erasures that were cut short."""

from collections import Counter
from typing import Any

import dagster as dg

from orchestration.lib.warehouse import Warehouse
from warehouse.settings import load_settings


@dg.asset(
    key=["ops", "erasures"],
    group_name="events",
    kinds={"postgres", "parquet"},
    owners=["team:data"],
)
def erasures(warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Finishes the erasures of persons that a crash or a restart cut short; those asked for are done at once.

    Says how much was removed, and never of whom.
    """
    from warehouse.privacy.erase import resume  # as with archiving: Arrow

    done = resume(warehouse.url(), load_settings())
    removed: Counter[str] = Counter()
    for erasure in done:
        removed.update(erasure.removed)
    return dg.MaterializeResult(metadata={"finished": len(done), "removed": dict(removed)})
