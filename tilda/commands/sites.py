"""`tilda site add`, `tilda site list`, `tilda snippet`."""

from __future__ import annotations

import click

from tilda import console
from tilda.stack import shown_host
from tilda.state import running
from warehouse import sites
from warehouse.database import running_database
from warehouse.settings import Settings, load_settings


@click.group()
def site() -> None:
    """The websites that send events."""


@site.command("add")
@click.argument("site_id", metavar="SITE")
@click.option("--domain", "domains", multiple=True, required=True, help="Host name of its pages; may be repeated.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA zone in which its days are cut.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def add(site_id: str, domains: tuple[str, ...], timezone: str, *, as_json: bool) -> None:
    """Add a site, or change its domains and timezone; its key stays."""
    settings = load_settings()
    with running_database(settings) as url:
        added = sites.add_site(url, site_id, domains=list(domains), timezone=timezone)
    if as_json:
        console.print_json(added)
    else:
        console.echo(f"{added.site_id}: key {added.public_key}. Its snippet: tilda snippet {added.site_id}")


@site.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_(*, as_json: bool) -> None:
    """List the sites."""
    with running_database(load_settings()) as url:
        found = sites.list_sites(url)
    if as_json:
        console.print_json(found)
        return
    rows = [(one.site_id, ", ".join(one.domains), one.timezone, one.public_key) for one in found]
    console.print_table("", ["site", "domains", "timezone", "key"], rows)


@click.command()
@click.argument("site_id", metavar="SITE")
@click.option("--ingest-url", help="Where the site reaches the ingest API; default: this machine's address.")
def snippet(site_id: str, ingest_url: str | None) -> None:
    """Print what to paste: the script into the site's HEAD, the pixel for visitors without scripts into a block."""
    settings = load_settings()
    with running_database(settings) as url:
        found = sites.get_site(url, site_id)
    click.echo(sites.snippet(found, ingest_url or _ingest_url(settings)))


def _ingest_url(settings: Settings) -> str:
    state = running(settings.data_dir)
    if state and "ingest" in state.urls:
        return state.urls["ingest"]
    return f"http://{shown_host(settings.ingest_host)}:{settings.ingest_port}"


COMMANDS = (site, snippet)
