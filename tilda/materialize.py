"""Materialize Dagster assets in a separate process and report progress."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from tilda.services import owner_environment
from warehouse.kit.errors import UserError
from warehouse.kit.installation import working_dir
from warehouse.kit.progress import Progress
from warehouse.kit.settings import Settings


@dataclass(frozen=True)
class Materialized:
    """Result of a run.

    Attributes:
        run_id: The run's ID in Dagster.
        assets: Number of materialized assets.
        checks_passed: Number of asset checks that passed.
        checks_failed: Names of asset checks that failed.
        seconds: Duration in seconds.
    """

    run_id: str
    assets: int
    checks_passed: int
    checks_failed: list[str]
    seconds: float


def materialize(settings: Settings, selection: str, progress: Progress) -> Materialized:
    """Materialize the assets in `selection`. The database must be running.

    Raises:
        UserError: The selection is empty, or an asset failed (the message contains the asset and its error).
    """
    log = settings.data_dir / "logs" / "materialize.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "orchestration.materialize", selection],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=owner_environment(settings),
            cwd=working_dir(),
            text=True,
        ) as process,
    ):
        try:
            return _follow(process, progress, str(log))
        except BaseException:
            process.terminate()
            raise


def _follow(process: subprocess.Popen[str], progress: Progress, log: str) -> Materialized:
    """Read the JSON lines that the run prints: progress, then the result or an error."""
    if process.stdout is None:
        raise ValueError("the process was started without a pipe")
    for line in process.stdout:
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        if "error" in message:
            raise UserError(message["error"], message.get("remedy") or f"See the log: {log}")
        if "done" in message:
            progress(message["done"], message["total"])
        else:
            return Materialized(**message)
    raise UserError(f"The run ended without a result (code {process.wait()}).", f"See the log: {log}")
