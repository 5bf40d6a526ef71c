"""Measure the quality and the cost of the propensity model: `python -m bench.ml [CAMPAIGN …]`. Default: all campaigns.

* **speed**: train on and score a million rows: seconds, rows per second, peak memory, share of time in the database.
* **truth**: simulated shops with known true probabilities: log-loss, calibration, deciles and lift of the model,
  compared with the best possible prediction.
* **null**: shops where nothing can be predicted: how often a model is promoted nevertheless.
* **small**: a site with 200 visitors per day, 2 % of whom convert: the decision and its reason at several ages.
* **drift**: twelve weeks of a shop whose visitors change their behaviour after six weeks, one daily run per week.

Progress is written to standard error, the result as JSON to standard output or to the file of `--output`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import ml_drift, ml_small, ml_speed, ml_truth
from bench.ml_world import Say


def main() -> int:
    """Run the selected campaigns; return the exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "campaigns", nargs="*", metavar="CAMPAIGN", help="speed, truth, null, small, drift; default: all"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in speed")
    parser.add_argument("--visitors", type=int, default=110_000, help="visitors of each shop in truth")
    parser.add_argument("--days", type=int, default=120, help="simulated days in truth and null")
    parser.add_argument("--seeds", type=int, default=3, help="number of shops in truth")
    parser.add_argument("--null-seeds", type=int, default=20, help="number of shops in null")
    parser.add_argument("--null-visitors", type=int, default=3_000, help="visitors of each shop in null")
    parser.add_argument("--drift-visitors", type=int, default=20_000, help="visitors of the shop in drift")
    parser.add_argument("--output", type=Path, help="file for the JSON result")
    wanted = parser.parse_args()
    say = _progress_printer()
    campaigns: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": lambda: ml_speed.run(wanted.rows, say),
        "truth": lambda: ml_truth.run(range(1, wanted.seeds + 1), wanted.visitors, wanted.days, say),
        "null": lambda: ml_truth.run_null(range(1, wanted.null_seeds + 1), wanted.null_visitors, wanted.days, say),
        "small": lambda: ml_small.run(say),
        "drift": lambda: ml_drift.run(wanted.drift_visitors, say),
    }
    unknown = set(wanted.campaigns) - set(campaigns)
    if unknown:
        parser.error(f"unknown campaign: {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {}
    for name in wanted.campaigns or campaigns:
        say(f"== {name}")
        results[name] = campaigns[name]()
        text = json.dumps(results, indent=1)
        if wanted.output:
            wanted.output.write_text(text)  # after each campaign, so that a later failure loses no result
    if not wanted.output:
        sys.stdout.write(f"{json.dumps(results, indent=1)}\n")
    return 0


def _progress_printer() -> Say:
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:7.0f} s  {text}\n")
        sys.stderr.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
