"""Load the demo's data into the warehouse: a real access log, and the events of a simulated shop."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.api_sender import Sender, SendResult
from demo.files import write_events, write_truth
from demo.simulation.events import Event
from demo.simulation.simulation import Simulation
from warehouse.events.imports import import_file
from warehouse.kit.errors import UserError
from warehouse.kit.progress import Progress
from warehouse.sites.registry import Site, ensure_site

SAMPLE_LOG = Path(__file__).parent / "data" / "semicomplete-access.log.gz"

MIN_API_PERIOD = timedelta(hours=6)
"""Events of today, and at least events of this last period, are sent through the HTTP API.

The API sets their `received_at` to now. Events of earlier days are imported instead, because the features as of the
last midnight do not include events that are received after it.
"""

TRUTH_FILE = "truth.csv"
BLOG, SHOP = "blog", "shop"
"""IDs of the demo's sites: the site of the access log, and the simulated shop."""
CONSENT = "opt-out"
"""Consent mode of the demo's sites: their visitors are not real. A real site chooses its own mode."""
VISITORS, DAYS, SEED = 8_000, 100, 7
"""Size of the simulated shop: enough conversions to train a model, and about three minutes of run time."""


@dataclass(frozen=True)
class Api:
    """How the simulation sends events.

    Attributes:
        url: URL of the public ingest API.
        service_key: Exempts the requests from the rate limit per IP address.
    """

    url: str
    service_key: str


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


def load_blog(url: str, hash_key: str, progress: Progress) -> Site:
    """Import the sample access log into the site `BLOG`. A second call adds nothing.

    Args:
        url: Database URL with the owner's login.
        hash_key: Passed to `import_file`.
        progress: Called with the number of bytes read and the size of the file in bytes.

    Raises:
        UserError: A site with this ID exists and has other domains.
    """
    blog = ensure_demo_site(url, BLOG, ["semicomplete.com"], "UTC")
    import_file(url, SAMPLE_LOG, site_id=blog.site_id, format="access-log", hash_key=hash_key, progress=progress)
    return blog


def load_shop(url: str, api: Api, hash_key: str, folder: Path, progress: Progress) -> Site:
    """Load the simulated shop into the site `SHOP`. A second call adds nothing.

    Args:
        url: Database URL with the owner's login.
        api: The ingest API that receives the recent events.
        hash_key: Passed to `import_file`.
        folder: Folder for `TRUTH_FILE`, the true probabilities, and `simulation.json`, the parameters.
        progress: Called with the amount done and the total.

    Raises:
        UserError: A site with this ID exists and has other domains, or the API rejects a request.
    """
    shop = ensure_demo_site(url, SHOP, ["shop.example", "127.0.0.1"], "Europe/Moscow")
    simulation = shop_simulation(shop, VISITORS, DAYS, SEED, _stored_end(folder / "simulation.json"))
    load_simulation(
        url, shop, simulation, api=api, hash_key=hash_key, truth_file=folder / TRUTH_FILE, progress=progress
    )
    return shop


def ensure_demo_site(url: str, site_id: str, domains: list[str], timezone: str) -> Site:
    """Return a site of the demo, and add it if it is missing.

    Raises:
        UserError: A site with this ID has other domains. Simulated visitors must not mix with real visitors.
    """
    site = ensure_site(url, site_id, domains, timezone, collector={"consent": CONSENT})
    if domains[0] not in site.domains:
        raise UserError(
            f"The site {site_id} does not belong to the demo: its domains are {', '.join(site.domains)}.",
            "Run the demo with a separate database: set another DATA_DIR or DATABASE_URL.",
        )
    return site


def shop_simulation(site: Site, visitors: int, days: int, seed: int, end: datetime | None = None) -> Simulation:
    """Return the simulation of a shop on the first domain and in the time zone of a site.

    For a site without domains, which accepts events from any website, the pages are on `SITE.example`.

    Args:
        site: The site that receives the events.
        visitors: Number of visitors.
        days: Number of simulated days.
        seed: Seed of the random numbers.
        end: End of the simulated time, timezone-aware; None for the last full hour.
    """
    domain = site.domains[0] if site.domains else f"{site.site_id}.example"
    return Simulation(visitors, days, seed, timezone=site.timezone, domain=domain, end=end or last_full_hour())


def last_full_hour() -> datetime:
    """Return the start of the current hour in UTC."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def _stored_end(file: Path) -> datetime:
    """Return the end of the simulated time: the last full hour before the first run.

    The time is stored, so that later runs add no events.
    """
    if file.exists():
        return datetime.fromisoformat(json.loads(file.read_text())["end"])
    end = last_full_hour()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"visitors": VISITORS, "days": DAYS, "seed": SEED, "end": end.isoformat()}))
    return end


def load_simulation(
    url: str,
    site: Site,
    simulation: Simulation,
    *,
    api: Api,
    hash_key: str,
    truth_file: Path | None = None,
    progress: Progress,
) -> Simulated:
    """Load the events of a simulation: old events by import, recent events through the HTTP API.

    Args:
        url: Database URL with the owner's login.
        site: The site that receives the events.
        simulation: The events to load. Their IDs are deterministic, so a second call stores no duplicates.
        api: The ingest API that receives the recent events.
        hash_key: Passed to `import_file`.
        truth_file: CSV file to write, with the columns `site_id, user_id, as_of, p_conversion_7d, p_purchase_7d` and
            rows for every site midnight that can be a cut-off.
        progress: Called with the amount done and the total.

    Raises:
        UserError: The API cannot be reached or rejects a request.
    """
    recent: list[Event] = []
    api_from = f"{_api_period_start(simulation):%Y-%m-%dT%H:%M:%S}"

    def generated(done: float, total: float | None) -> None:
        progress(40 * done / (total or 1), 100)

    def imported(done: float, total: float | None) -> None:
        progress(40 + 40 * done / (total or 1), 100)

    def sent(delivery: SendResult) -> None:
        progress(80 + 20 * delivery.events / max(len(recent), 1), 100)

    with tempfile.TemporaryDirectory(prefix="tilda-simulation-") as folder:
        path = Path(folder) / "simulation.jsonl"
        write_events(_older(simulation.events(generated), api_from, recent), path)
        result = import_file(url, path, site_id=site.site_id, format="events", hash_key=hash_key, progress=imported)
    truth_rows = 0
    if truth_file is not None:
        truth = simulation.truth(simulation.midnights())
        truth_file.parent.mkdir(parents=True, exist_ok=True)
        write_truth(truth, site.site_id, truth_file)
        truth_rows = len(truth)
    delivery = Sender(api.url, site.public_key, api.service_key).send(recent, sent)
    return Simulated(
        imported=result.imported,
        sent=delivery.accepted,
        duplicates=result.duplicates + delivery.duplicates,
        rejected=result.rejected + delivery.rejected,
        truth_rows=truth_rows,
    )


def _api_period_start(simulation: Simulation) -> datetime:
    now = datetime.now(UTC)
    newest_midnight = max(midnight for midnight in simulation.midnights() if midnight <= now)
    # if the simulation ended more than a day ago, no event is recent: all events are imported
    return min(max(newest_midnight, now - timedelta(days=1)), now - MIN_API_PERIOD)


def _older(events: Iterator[Event], api_from: str, recent: list[Event]) -> Iterator[Event]:
    """Yield the events received before `api_from`; append the others to `recent`."""
    for event in events:
        if event["received_at"] < api_from:
            yield event
        else:
            recent.append(event)
