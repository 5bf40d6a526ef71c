"""Runs Dagster's work in a process of its own and follows it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from tilda.console import Advance
from tilda.stack import owner_environment
from warehouse.kit.errors import UserError
from warehouse.kit.installation import working_dir
from warehouse.kit.settings import Settings


@dataclass(frozen=True)
class Materialized:
    """What a run made.

    Attributes:
        run_id: Its id in Dagster.
        assets: Assets materialised.
        checks_passed: Asset checks that passed.
        checks_failed: Names of those that did not.
        seconds: How long it took.
    """

    run_id: str
    assets: int
    checks_passed: int
    checks_failed: list[str]
    seconds: float


def materialize(settings: Settings, selection: str, advance: Advance) -> Materialized:
    """Materialise the assets that `selection` names; the database must run.

    Raises:
        UserError: The selection names nothing, or an asset failed; the message names it and its error.
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
            return _follow(process, advance, str(log))
        except BaseException:
            process.terminate()
            raise


def _follow(process: subprocess.Popen[str], advance: Advance, log: str) -> Materialized:
    """Read the lines of JSON that the run prints; the last one is its result."""
    if process.stdout is None:
        raise ValueError("the process was started without a pipe")
    for line in process.stdout:
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        if "error" in told:
            raise UserError(told["error"], told.get("remedy") or f"Its log: {log}")
        if "done" in told:
            advance(told["done"], told["total"])
        else:
            return Materialized(**told)
    raise UserError(f"The run ended without a result (code {process.wait()}).", f"Its log: {log}")
