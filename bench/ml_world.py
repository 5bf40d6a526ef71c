"""A temporary warehouse for the campaigns of `bench.ml`, and the simulated shop that fills it."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from demo.files import write_events
from demo.simulation.events import Event
from demo.simulation.simulation import Simulation
from ml.features import Target, load_targets
from orchestration.defs.propensity import steps
from tests.dbt.dbt_project import run_dbt
from tests.embedded import NOT_DURABLE, migrated_database, running_postgres
from warehouse.events.imports import import_file
from warehouse.kit.database import connect
from warehouse.propensity import store
from warehouse.sites.registry import ensure_site

ZONE, DOMAIN = "Europe/Moscow", "shop.example"
TARGET = load_targets()["conversion_7d"]

Say = Callable[[str], None]


@dataclass
class World:
    """A temporary warehouse.

    Attributes:
        url: Database URL.
        folder: Folder for files; deleted at the end.
        say: Prints progress.
    """

    url: str
    folder: Path
    say: Say

    def bring_in(self, site_id: str, events: Iterable[Event]) -> int:
        """Import events of a site, create the site if necessary, and return the number of events stored."""
        ensure_site(self.url, site_id, domains=[DOMAIN], timezone=ZONE)
        path = self.folder / f"{site_id}.jsonl"
        write_events(events, path)
        result = import_file(self.url, path, site_id=site_id, format="events", hash_key="bench")
        path.unlink()
        return result.imported

    def build(self, *, fresh: bool) -> float:
        """Build all models, as the daily run does, and return the time in seconds."""
        started = time.monotonic()
        target = self.folder / "dbt"
        arguments = ["build", "--exclude-resource-type", "unit_test", "--exclude-resource-type", "test"]
        arguments += ["--full-refresh"] if fresh else []
        run_dbt(self.url, target, *arguments)
        return time.monotonic() - started

    def examples(self, site_id: str, target: Target = TARGET) -> pd.DataFrame:
        """Return the training table of a site."""
        with connect(self.url) as connection:
            return store.training_frame(
                connection, site_id, target.label, target.weeks, goal_label=steps.goal_label(target)
            )


@contextmanager
def world(say: Say) -> Generator[World]:
    """Create an empty warehouse with the current schema, and remove it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="tilda-bench-ml-") as name:
        folder = Path(name)
        with running_postgres(folder / "postgres", 55800, secrets.token_hex(8), options=NOT_DURABLE) as server:
            yield World(migrated_database(server, "bench"), folder, say)


def simulation(visitors: int, days: int, seed: int, *, end: str, signal: bool = True, change: str = "") -> Simulation:
    """Return a simulated shop up to `end` (UTC). If `change` is given, its visitors change their behaviour then."""
    return Simulation(
        visitors,
        days,
        seed,
        timezone=ZONE,
        domain=DOMAIN,
        end=moment(end),
        signal=signal,
        change_at=moment(change) if change else None,
    )


def moment(text: str) -> datetime:
    """Parse an ISO 8601 time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
