"""Brings the demo's data in: the sites, a real log, the simulated shop, a visit by a real browser."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.events import Event
from demo.sending import Delivery, Sender
from demo.simulation import Simulation
from demo.writers import write_events, write_truth
from warehouse.events.imports import import_file
from warehouse.sites import Site

SAMPLE_LOG = Path(__file__).parent / "data" / "semicomplete-access.log.gz"

LEAST_LIVE = timedelta(hours=6)
"""What goes through the HTTP API is received now. That is today's events, and at least those of the last hours: if it
were more, the features as of last midnight would miss what visitors did yesterday."""

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class Simulated:
    """What became of a simulation's events: by the import and through the API."""

    imported: int
    sent: int
    duplicates: int
    rejected: int
    truth_rows: int


def simulate_into(
    url: str,
    site: Site,
    simulation: Simulation,
    *,
    ingest_url: str,
    service_key: str,
    hash_key: str,
    truth_file: Path | None = None,
    progress: Progress,
) -> Simulated:
    """Land a simulation in the warehouse, and write its truth to a file if one is named.

    Args:
        url: The owner's database address.
        site: The site that gets the events.
        simulation: Its events are the same each time, so a second call adds nothing.
        ingest_url: The public API.
        service_key: Frees the requests from the limit for one address.
        hash_key: As `import_file` takes it.
        truth_file: CSV with `site_id, user_id, as_of, p_conversion_7d, p_purchase_7d` at every site midnight that can
            be a cut-off.
        progress: Told what is done and what there is in all.

    Raises:
        UserError: The API cannot be reached or refuses.
    """
    recent: list[Event] = []
    live_from = f"{_live_from(simulation):%Y-%m-%dT%H:%M:%S}"

    def generated(done: int, total: int) -> None:
        progress(done / total * 40, 100)

    def imported(done: float, total: float | None) -> None:
        progress(40 + 40 * done / (total or 1), 100)

    def sent(delivery: Delivery) -> None:
        progress(80 + 20 * delivery.events / max(len(recent), 1), 100)

    with tempfile.TemporaryDirectory(prefix="tilda-simulation-") as folder:
        path = Path(folder) / "simulation.jsonl"
        write_events(_older(simulation.events(generated), live_from, recent), path)
        result = import_file(url, path, site_id=site.site_id, format="events", hash_key=hash_key, progress=imported)
    truth_rows = 0
    if truth_file is not None:
        truth = simulation.truth(simulation.midnights())
        truth_file.parent.mkdir(parents=True, exist_ok=True)
        write_truth(truth, site.site_id, truth_file)
        truth_rows = len(truth)
    delivery = Sender(ingest_url, site.public_key, service_key).send(recent, sent)
    return Simulated(
        imported=result.imported,
        sent=delivery.accepted,
        duplicates=result.duplicates + delivery.duplicates,
        rejected=result.rejected + delivery.rejected,
        truth_rows=truth_rows,
    )


def _live_from(simulation: Simulation) -> datetime:
    now = datetime.now(UTC)
    newest_midnight = max(midnight for midnight in simulation.midnights() if midnight <= now)
    # a simulation of the past has no events of today
    return min(max(newest_midnight, now - timedelta(days=1)), now - LEAST_LIVE)


def _older(events: Iterator[Event], live_from: str, recent: list[Event]) -> Iterator[Event]:
    """Yield what was received before `live_from`; keep the rest in `recent`."""
    for event in events:
        if event["received_at"] < live_from:
            yield event
        else:
            recent.append(event)
