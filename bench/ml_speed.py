"""Measure training on a million rows and scoring a million visitors, and the share of time spent in the database.

`python -m bench.ml_speed URL` measures on an existing warehouse; `run` creates and fills a warehouse, then calls it.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, LiteralString, TypeVar, cast

import pandas as pd
from psycopg import sql

from bench.ml_world import TARGET, Say, World, world
from ml import artifacts, scoring
from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES
from ml.learners import LEARNERS
from orchestration.defs.propensity import steps
from tests.feature_tables import visitors
from warehouse.kit.database import connect
from warehouse.propensity import store

AT_ONCE = 200_000
T = TypeVar("T")
TODAY = pd.Timestamp("2026-11-05", tz="UTC")


def run(rows: int, say: Say) -> dict[str, Any]:
    """Fill a warehouse with `rows` examples and `rows` visitors to score, and measure in a separate process."""
    with world(say) as place:
        _fill(place, rows)
        say(f"{rows:,} examples and {rows:,} visitors stored")
        command = [sys.executable, "-m", "bench.ml_speed", place.url]
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    for work in ("train", "score"):
        one = found[work]
        say(
            f"{work}: {one['seconds']:.0f} s, {one['rows'] / one['seconds']:,.0f} rows/s, "
            f"{one['database_share']:.0%} of the time in the database"
        )
    say(f"peak memory: {found['peak_memory_mb']:,.0f} MB")
    return found


def _fill(place: World, rows: int) -> None:
    """Store twelve weeks of examples, and today's visitors, whose outcome is unknown."""
    kinds = {"site_id": "text", "user_id": "text", "as_of": "timestamptz"}
    kinds |= dict.fromkeys(NUMERIC_NAMES, "double precision") | dict.fromkeys(CATEGORICAL_NAMES, "text")
    kinds[TARGET.label] = "boolean"
    with connect(place.url) as connection:
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(cast("LiteralString", kind)))
            for name, kind in kinds.items()
        )
        connection.execute(sql.SQL("create table marts.visitor_features ({})").format(columns))
        for seed, start in enumerate(range(0, rows, AT_ONCE)):
            frame = visitors(min(AT_ONCE, rows - start), seed=seed)
            own = frame["user_id"] + f"-{seed}-" + frame.groupby(["user_id", "as_of"]).cumcount().astype(str)
            known = frame.assign(user_id=own)[list(kinds)]
            now = known.assign(as_of=TODAY, user_id=[f"t{start + place}" for place in range(len(known))])
            now[TARGET.label] = None
            text = io.StringIO()
            pd.concat([known, now]).to_csv(text, index=False, header=False)
            with connection.cursor() as cursor, cursor.copy("copy marts.visitor_features from stdin csv") as copy:
                copy.write(text.getvalue())
        connection.execute("create index on marts.visitor_features (site_id, as_of, user_id)")
        connection.execute("analyze marts.visitor_features")


def measure(url: str) -> dict[str, Any]:
    """Train and score as the daily run does, and measure the total time and the time in the database."""
    clock = _Clock()
    with connect(url) as connection:
        frame = clock.of_database(lambda: store.training_frame(connection, "shop", TARGET.label, TARGET.weeks))
        model = steps.fit(frame, TARGET, tuple(LEARNERS))
        artifact = artifacts.dumps(model)
        trained = clock.lap(len(frame))
        del frame
        today = clock.of_database(lambda: store.scoring_frame(connection, "shop"))
        scores = scoring.score(model, today).assign(target=TARGET.name)
        clock.of_database(lambda: store.write_scores(connection, scores))
        scored = clock.lap(len(today))
    unit = 1024 if sys.platform == "linux" else 2**20
    return {
        "train": trained | {"algorithm": model.kind, "artifact_kb": len(artifact.content) // 1024},
        "score": scored,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }


class _Clock:
    """Measures the time since the last lap, and the part of it that was spent in the database."""

    def __init__(self) -> None:
        self._started, self._database = time.monotonic(), 0.0

    def of_database(self, work: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            return work()
        finally:
            self._database += time.monotonic() - started

    def lap(self, rows: int) -> dict[str, Any]:
        seconds = time.monotonic() - self._started
        found = {"rows": rows, "seconds": seconds, "database_share": self._database / seconds}
        self._started, self._database = time.monotonic(), 0.0
        return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1])))
