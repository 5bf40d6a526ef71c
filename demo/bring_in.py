"""Load the simulated shop into the warehouse: old events by import, recent events through the HTTP API."""

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
from warehouse.sites.registry import Site

SAMPLE_LOG = Path(__file__).parent / "data" / "semicomplete-access.log.gz"

LEAST_LIVE = timedelta(hours=6)
"""Events of today, and at least events of this last period, are sent through the HTTP API.

The API sets their `received_at` to now. Events of earlier days are imported instead, because the features as of the
last midnight do not include events that are received after it.
"""

Progress = Callable[[float, float | None], None]


@dataclass(frozen=True)
class Simulated:
    """The result of loading a simulation.

    Attributes:
        imported: Events stored by the import.
        sent: Events stored through the HTTP API.
        duplicates: Events that were already stored.
        rejected: Events that failed validation.
        truth_rows: Rows written to the truth file.
    """

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
    """Load the events of a simulation into the warehouse, and optionally write its ground truth to a file.

    Args:
        url: Database URL with the owner's login.
        site: The site that receives the events.
        simulation: The events to load. Their IDs are deterministic, so a second call stores no duplicates.
        ingest_url: URL of the public ingest API.
        service_key: Exempts the requests from the rate limit per IP address.
        hash_key: Passed to `import_file`.
        truth_file: CSV file to write, with the columns `site_id, user_id, as_of, p_conversion_7d, p_purchase_7d` and
            rows for every site midnight that can be a cut-off.
        progress: Called with the amount done and the total.

    Raises:
        UserError: The API cannot be reached or rejects a request.
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
    # if the simulation ended more than a day ago, no event is recent: all events are imported
    return min(max(newest_midnight, now - timedelta(days=1)), now - LEAST_LIVE)


def _older(events: Iterator[Event], live_from: str, recent: list[Event]) -> Iterator[Event]:
    """Yield the events received before `live_from`; append the others to `recent`."""
    for event in events:
        if event["received_at"] < live_from:
            yield event
        else:
            recent.append(event)
