"""The main job, end to end: real and simulated data in, everything materialised, a table of what was found."""

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
VISITORS, DAYS, SEED = 8_000, 100, 7
"""The shop's size: enough conversions for a model with grounds, few enough for three minutes."""


EVERYTHING = f'not key:"{mindsdb.ASSET}"'
"""What comes before the table: all but the publishing, which would keep people waiting for it."""


def run(settings: Settings, urls: dict[str, str], installing: subprocess.Popen[bytes] | None) -> None:
    """Bring the data in, materialise every asset, print the result. A second run adds only a browser's visit.

    `installing` is the installation of MindsDB that goes on meanwhile, if one is wanted.

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
            console.err.print(f"No browser's visit: {error}", markup=False)
    with console.progress("Materialising every asset") as advance:
        materialize(settings, EVERYTHING, advance)
    report.print_report(settings, shop.site_id, truth_file)
    console.out.print(f"\nThe snippet of {shop.site_id}:", style="bold")
    console.out.print(make_snippet(shop, settings.public_url or urls["ingest"], settings), markup=False)
    try:
        serving.serve(settings, shop.site_id, installing)
    except UserError as error:
        console.err.print(f"No scores in MindsDB: {error}", markup=False)


def _demo_site(url: str, site_id: str, domains: list[str], timezone: str) -> registry.Site:
    """A site of the demo, added if it is missing.

    Raises:
        UserError: A site of the same id has other domains: made-up visitors must not mix with real ones.
    """
    site = registry.ensure_site(url, site_id, domains, timezone)
    if domains[0] not in site.domains:
        raise UserError(
            f"The site {site_id} is not the demo's: its domains are {', '.join(site.domains)}.",
            "Run the demo on a database of its own: set another DATA_DIR, or another DATABASE_URL.",
        )
    return site


def _visit_with_browser(shop: registry.Site, ingest_url: str) -> None:
    try:
        from demo.browser import visit  # noqa: PLC0415 - Playwright is not among the packages that the stack runs on
    except ImportError as error:
        raise UserError(
            "Playwright is not installed.", "`make demo` installs it; or: pip install playwright"
        ) from error
    with serve(shop.public_key, ingest_url) as page:
        visit(page)


def _end(settings: Settings) -> datetime:
    """The simulation's last moment: the last full hour of the first run, kept, so that later runs add nothing."""
    file = settings.data_dir / "demo" / "simulation.json"
    if file.exists():
        return datetime.fromisoformat(json.loads(file.read_text())["end"])
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"visitors": VISITORS, "days": DAYS, "seed": SEED, "end": end.isoformat()}))
    return end
