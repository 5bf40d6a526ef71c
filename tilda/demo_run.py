"""Run the demo: load real and simulated data, materialize all assets, print a report."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

from demo.bring_in import SAMPLE_LOG, simulate_into
from demo.page import serve
from demo.simulation import Simulation
from tilda import console, mindsdb, report, serving
from tilda.materialize import materialize
from warehouse.events.imports import import_file
from warehouse.kit.database import direct_url
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.sites import registry
from warehouse.sites.snippet import snippet as make_snippet

BLOG, SHOP = "blog", "shop"
CONSENT = "opt-out"
"""Consent mode of the demo's sites: their visitors are not real. A real site chooses its own mode."""
VISITORS, DAYS, SEED = 8_000, 100, 7
"""Size of the simulated shop: enough conversions to train a model, and about three minutes of run time."""


ALL_BUT_MINDSDB = f'not key:"{mindsdb.ASSET}"'
"""Assets that are materialized before the report. Publishing to MindsDB comes later, because it takes long."""


def run(settings: Settings, urls: dict[str, str], installing: subprocess.Popen[bytes] | None) -> None:
    """Load the data, materialize all assets, and print the report. A second run adds only a browser's visit.

    Args:
        settings: Settings of the running stack.
        urls: Addresses of the stack by service.
        installing: Process that installs MindsDB; None if the stack does not run MindsDB.

    Raises:
        UserError: A step failed.
    """
    url = direct_url(settings)
    hash_key = settings.secrets.visitor_hash_key
    truth_file = settings.data_dir / "demo" / "truth.csv"
    blog = _demo_site(url, BLOG, ["semicomplete.com"], "UTC")
    shop = _demo_site(url, SHOP, ["shop.example", "127.0.0.1"], "Europe/Moscow")
    with console.progress("Importing a real access log") as advance:
        import_file(url, SAMPLE_LOG, site_id=blog.site_id, format="access-log", hash_key=hash_key, progress=advance)
    with console.progress("Simulating a shop") as advance:
        simulate_into(
            url,
            shop,
            Simulation(VISITORS, DAYS, SEED, timezone=shop.timezone, domain=shop.domains[0], end=_end(settings)),
            ingest_url=urls["ingest"],
            service_key=settings.secrets.service_key,
            hash_key=hash_key,
            truth_file=truth_file,
            progress=advance,
        )
    with console.waiting("Visiting a page with a real browser"):
        try:
            _visit_with_browser(shop, urls["ingest"])
        except UserError as error:
            console.err.print(f"The visit with a browser was skipped: {error}", markup=False)
    with console.progress("Materializing all assets") as advance:
        materialize(settings, ALL_BUT_MINDSDB, advance)
    report.print_report(settings, shop.site_id, truth_file)
    mode = shop.collector.consent
    console.out.print(f"\nThe snippet of {shop.site_id}, with the consent mode {mode}:", style="bold")
    console.out.print(make_snippet(shop, settings.public_url or urls["ingest"], settings), markup=False)
    try:
        serving.serve(settings, shop.site_id, installing)
    except UserError as error:
        console.err.print(f"Publishing to MindsDB was skipped: {error}", markup=False)


def _demo_site(url: str, site_id: str, domains: list[str], timezone: str) -> registry.Site:
    """Return a site of the demo, and add it if it is missing.

    Raises:
        UserError: A site with this ID has other domains. Simulated visitors must not mix with real visitors.
    """
    site = registry.ensure_site(url, site_id, domains, timezone, collector={"consent": CONSENT})
    if domains[0] not in site.domains:
        raise UserError(
            f"The site {site_id} does not belong to the demo: its domains are {', '.join(site.domains)}.",
            "Run the demo with a separate database: set another DATA_DIR or DATABASE_URL.",
        )
    return site


def _visit_with_browser(shop: registry.Site, ingest_url: str) -> None:
    try:
        from demo.browser import visit  # noqa: PLC0415 - Playwright is installed for the demo only
    except ImportError as error:
        raise UserError(
            "Playwright is not installed.", "Run `make demo`, which installs it, or: pip install playwright"
        ) from error
    with serve(shop.public_key, ingest_url) as page:
        visit(page)


def _end(settings: Settings) -> datetime:
    """Return the end of the simulated time: the last full hour before the first run.

    The time is stored, so that later runs add no events.
    """
    file = settings.data_dir / "demo" / "simulation.json"
    if file.exists():
        return datetime.fromisoformat(json.loads(file.read_text())["end"])
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"visitors": VISITORS, "days": DAYS, "seed": SEED, "end": end.isoformat()}))
    return end
