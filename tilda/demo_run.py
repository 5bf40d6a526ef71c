"""Run the demo: load real and simulated data, materialize all assets, print a report."""

from __future__ import annotations

import subprocess

from demo import loading, page, report
from ml.errors import MindsDBError
from ml.mindsdb_client import Server
from ml.mindsdb_publishing import highest_scores
from tilda import console, mindsdb_process
from tilda.materialize import materialize
from warehouse.kit.database import connect, direct_url
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.propensity import store
from warehouse.propensity.mindsdb_server import mindsdb_login, view_name
from warehouse.sites.registry import Site
from warehouse.sites.snippet import snippet as make_snippet

ALL_BUT_MINDSDB = f'not key:"{mindsdb_process.ASSET}"'
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
    folder = settings.data_dir / "demo"
    api = loading.Api(urls["ingest"], settings.secrets.service_key)
    with console.progress("Importing a real access log") as progress:
        loading.load_blog(url, hash_key, progress)
    with console.progress("Simulating a shop") as progress:
        shop = loading.load_shop(url, api, hash_key, folder, progress)
    with console.waiting("Visiting a page with a real browser"):
        try:
            _visit_with_browser(shop, api.url)
        except UserError as error:
            console.err.print(f"The visit with a browser was skipped: {error}", markup=False)
    with console.progress("Materializing all assets") as progress:
        materialize(settings, ALL_BUT_MINDSDB, progress)
    for table in report.tables(url, shop.site_id, folder / loading.TRUTH_FILE):
        _print_table(table)
    mode = shop.collector.consent
    console.out.print(f"\nThe snippet of {shop.site_id}, with the consent mode {mode}:", style="bold")
    console.out.print(make_snippet(shop, settings.public_url or api.url, settings), markup=False)
    try:
        _publish_to_mindsdb(settings, shop.site_id, installing)
    except UserError as error:
        console.err.print(f"Publishing to MindsDB was skipped: {error}", markup=False)


def _visit_with_browser(shop: Site, ingest_url: str) -> None:
    try:
        from demo.browser import visit  # noqa: PLC0415 - Playwright is installed for the demo only
    except ImportError as error:
        raise UserError(
            "Playwright is not installed.", "Run `make demo`, which installs it, or: pip install playwright"
        ) from error
    with page.serve(shop.public_key, ingest_url) as address:
        visit(address)


def _print_table(table: report.Table) -> None:
    if table.headings:
        console.print_table(table.title, table.headings, table.rows)
    else:
        console.out.print(f"\n{table.title}", markup=False)


def _publish_to_mindsdb(settings: Settings, site_id: str, installing: subprocess.Popen[bytes] | None) -> None:
    """Publish the models to MindsDB and print its highest scores for `site_id`.

    Does nothing without a MindsDB server or a model in use.

    Raises:
        UserError: MindsDB cannot be installed, does not start, or answers with an error.
    """
    if installing is not None:
        with console.waiting("Waiting for MindsDB"):
            if installing.wait() != 0:
                raise UserError("MindsDB cannot be installed.", f"See the log: {mindsdb_process.LOG}")
            mindsdb_process.wait_until_serving(settings)
    login = mindsdb_login(settings)
    with connect(direct_url(settings)) as connection:
        champion = store.champion(connection, site_id, report.TARGET)
    if login is None or champion is None:
        return
    with console.progress("Publishing to MindsDB") as progress:
        materialize(settings, f'key:"{mindsdb_process.ASSET}"', progress)
    view = view_name(site_id, report.TARGET)
    try:
        scores = highest_scores(Server(login.url, login.username, login.password), view, limit=5)
    except MindsDBError as error:
        raise UserError(str(error)) from error
    console.print_table(f"Highest scores in MindsDB's view {view}", list(scores.columns), scores.to_numpy().tolist())
    mindsdb_process.print_connection_help(settings)
