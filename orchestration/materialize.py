"""Materialize assets in this process: `python -m orchestration.materialize [SELECTION]`.

The run is recorded in the Dagster instance (DAGSTER_HOME), so the Dagster UI shows it like any other run. The
output is JSON Lines: `{"done", "total"}` after each asset, then the result or `{"error", "remedy"}`. Logs go to stderr.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import Any

import dagster as dg

from orchestration.selection import check_selection
from warehouse.kit.errors import UserError

MAX_CAUSE_CHARACTERS = 500


def _write_line(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def materialize(selection: str) -> dict[str, Any]:
    """Materialize the assets of a selection and run their checks.

    Returns:
        `run_id`, `assets` (number materialized), `checks_passed` (number), `checks_failed` (names), `seconds`.

    Raises:
        UserError: The selection is invalid or matches no asset, or an asset failed.
    """
    wanted = check_selection(selection)
    from orchestration.definitions import defs  # noqa: PLC0415 - takes seconds; check the selection first

    graph = defs.resolve_asset_graph()
    keys = [key for key in wanted.resolve(graph) if graph.get(key).is_executable]
    if not keys:
        raise UserError(
            f"The selection {selection!r} names no asset that can be materialized.", "The Dagster page lists them."
        )

    started = time.monotonic()
    materialized: set[dg.AssetKey] = set()
    checks: dict[str, bool] = {}
    failures: list[str] = []

    def follow(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        if event.is_step_materialization and event.asset_key is not None:
            materialized.add(event.asset_key)
            _write_line(done=len(materialized), total=len(keys))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            checks[f"{evaluation.asset_key.to_user_string()}:{evaluation.check_name}"] = evaluation.passed
        elif event.is_step_failure and event.step_key is not None:
            failures.append(f"{event.step_key}: {_cause(event.step_failure_data.error)}")

    run_id = str(uuid.uuid4())
    _write_line(done=0, total=len(keys))
    with dg.DagsterInstance.get() as instance:
        instance.add_event_listener(run_id, follow)
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=keys, run_id=run_id, raise_on_error=False
        )
    if not result.success:
        reason = failures[0] if failures else "see the run in the Dagster UI"
        raise UserError(f"Run {run_id} failed: {reason}.", "The Dagster UI shows its log.")
    return {
        "run_id": run_id,
        "assets": len(materialized),
        "checks_passed": sum(checks.values()),
        "checks_failed": sorted(name for name, passed in checks.items() if not passed),
        "seconds": round(time.monotonic() - started, 1),
    }


def _cause(error: Any) -> str:  # noqa: ANN401 - Dagster does not export its SerializableErrorInfo
    """Return the innermost error message on one line without the dbt command line, cut to `MAX_CAUSE_CHARACTERS`."""
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no message"
    text = " ".join(error.message.rpartition("Errors parsed from dbt logs:")[2].split()).rstrip(".")
    return text if len(text) <= MAX_CAUSE_CHARACTERS else text[:MAX_CAUSE_CHARACTERS] + " …"


def main() -> int:
    """Materialize the selection from the command line; return the exit code: 0, or 1 after writing the error."""
    try:
        _write_line(**materialize(sys.argv[1] if len(sys.argv) > 1 else "*"))
    except UserError as error:
        _write_line(error=error.message, remedy=error.remedy)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
