"""Interrupted erasures of personal data."""

from collections import Counter
from typing import Any

import dagster as dg

from orchestration.lib.warehouse import Warehouse
from warehouse.kit.settings import load_settings


@dg.asset(
    key=["ops", "erasures"],
    group_name="events",
    kinds={"postgres", "parquet"},
    owners=["team:data"],
)
def erasures(warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """Finish erasures of personal data that a crash or a restart interrupted.

    A new erasure request does not wait for this asset: it is processed when it is made. The metadata holds only row
    counts, never a visitor ID.
    """
    from warehouse.privacy.erase import resume  # import here: it loads Arrow, which is slow to import

    done = resume(warehouse.url(), load_settings())
    removed: Counter[str] = Counter()
    for erasure in done:
        removed.update(erasure.removed)
    return dg.MaterializeResult(metadata={"finished_erasures": len(done), "removed_rows": dict(removed)})
