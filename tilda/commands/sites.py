"""`tilda site`, `tilda snippet`, `tilda check`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from tilda import console
from tilda.check import Step
from tilda.check import check as check_way
from tilda.state import running
from warehouse.kit.addresses import is_local_address, public_address
from warehouse.kit.database import connect, running_database
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings
from warehouse.sites import registry
from warehouse.sites.snippet import snippet as make_snippet

_json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
_preview_option = click.option(
    "--allow-tilda-preview",
    "tilda_preview",
    is_flag=True,
    help=f"Also take events from {registry.TILDA_PREVIEW}, where Tilda shows projects without a domain of their own."
    " Every project is shown there; the domain project1234567.tilda.ws is yours alone.",
)


@click.group()
def site() -> None:
    """The websites that send events."""


@site.command("add")
@click.argument("site_id", metavar="SITE")
@click.option("--domain", "domains", multiple=True, help="Host name of its pages; may be repeated.")
@_preview_option
@click.option("--timezone", default="UTC", show_default=True, help="IANA zone in which its days are cut.")
@click.option("--name", help="What people call it; default: its id.")
@_json_option
def add(
    *, site_id: str, domains: tuple[str, ...], tilda_preview: bool, timezone: str, name: str | None, as_json: bool
) -> None:
    """Add a site. One that exists is not changed."""
    with running_database(load_settings()) as url:
        added = registry.add_site(url, site_id, _with_preview(domains, tilda_preview), timezone, name)
    if as_json:
        console.print_json(added)
    else:
        console.echo(f"{added.site_id}: key {added.public_key}. Its snippet: tilda snippet {added.site_id}")


@site.command("show")
@click.argument("site_id", metavar="SITE")
@_json_option
def show(site_id: str, *, as_json: bool) -> None:
    """Show one site."""
    with running_database(load_settings()) as url:
        found = registry.get_site(url, site_id)
    if as_json:
        console.print_json(found)
        return
    for label, value in (
        ("site", found.site_id),
        ("name", found.name),
        ("state", _shown("is_open", found.is_open)),
        ("domains", _shown("domains", found.domains)),
        ("timezone", found.timezone),
        ("key", found.public_key),
        ("added", f"{found.created_at:%Y-%m-%d %H:%M %Z}"),
    ):
        click.echo(f"{label}: {value}")


@site.command("set")
@click.argument("site_id", metavar="SITE")
@click.option("--name", help="What people call it.")
@click.option("--timezone", help="IANA zone in which its days are cut; reports of all its days are built again.")
@click.option("--reopen", is_flag=True, help="Take events with its key again, after `tilda site remove --keep-data`.")
@_json_option
def set_(site_id: str, name: str | None, timezone: str | None, *, reopen: bool, as_json: bool) -> None:
    """Change a site's name or time zone, or open it again."""
    if name is None and timezone is None and not reopen:
        raise click.UsageError("Say what to change: --name, --timezone or --reopen.")
    _change(lambda url: registry.set_site(url, site_id, name=name, timezone=timezone, reopen=reopen), as_json=as_json)


@site.command("remove")
@click.argument("site_id", metavar="SITE")
@click.option("--keep-data", is_flag=True, help="Close a site that holds data: its key is refused, its data stays.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
def remove(site_id: str, *, keep_data: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove a site that holds no data, or close one and keep its data."""
    with running_database(load_settings()) as url:
        planned = registry.remove_site(url, site_id, keep_data=keep_data, dry_run=True)
        if not dry_run:
            if not yes and not _confirms(f"This will {_planned(planned)} Go on?"):
                raise UserError("Nothing was changed.")
            registry.remove_site(url, site_id, keep_data=keep_data)
    if as_json:
        console.print_json(planned)
    elif dry_run:
        click.echo(f"Would {_planned(planned)}")
    else:
        click.echo(f"{site_id}: {planned.action}. The ingest API notices within a minute.")


@site.command("list")
@_json_option
def list_(*, as_json: bool) -> None:
    """List the sites."""
    with running_database(load_settings()) as url:
        found = registry.list_sites(url)
    if as_json:
        console.print_json(found)
        return
    rows = [
        (one.site_id, _shown("domains", one.domains), one.timezone, one.public_key if one.is_open else "closed")
        for one in found
    ]
    console.print_table("", ["site", "domains", "timezone", "key"], rows)


@site.group("domain")
def domain() -> None:
    """The hosts whose pages may send events to a site. A domain covers its subdomains."""


@domain.command("add")
@click.argument("site_id", metavar="SITE")
@click.argument("domains", metavar="DOMAIN...", nargs=-1)
@_preview_option
@_json_option
def add_domain(site_id: str, domains: tuple[str, ...], *, tilda_preview: bool, as_json: bool) -> None:
    """Take events from pages of more hosts."""
    wanted = _with_preview(domains, tilda_preview)
    if not wanted:
        raise click.UsageError("Name a domain, or set --allow-tilda-preview.")
    _change(lambda url: registry.add_domains(url, site_id, wanted), as_json=as_json)


@domain.command("remove")
@click.argument("site_id", metavar="SITE")
@click.argument("domains", metavar="DOMAIN...", nargs=-1, required=True)
@_json_option
def remove_domain(site_id: str, domains: tuple[str, ...], *, as_json: bool) -> None:
    """Refuse events from pages of these hosts."""
    _change(lambda url: registry.remove_domains(url, site_id, domains), as_json=as_json)


@click.command()
@click.argument("site_id", metavar="SITE")
@click.option("--ingest-url", metavar="URL", help="The API's public address, in place of the setting PUBLIC_URL.")
def snippet(site_id: str, ingest_url: str | None) -> None:
    """Print what to paste: the script into the site's HEAD, the pixel for visitors without scripts into a block."""
    settings = load_settings()
    with running_database(settings) as url:
        found = registry.get_site(url, site_id)
    address = _snippet_address(settings, ingest_url)
    click.echo(make_snippet(found, address, settings))
    if is_local_address(address):
        console.err.print(
            "This snippet works on this machine only. For a website set PUBLIC_URL in .env to the https address of the"
            f" ingest API, and run `tilda snippet {site_id}` again.",
            markup=False,
        )


@click.command()
@click.argument("site_id", metavar="SITE")
@_json_option
def check(site_id: str, *, as_json: bool) -> None:
    """Send an event to a site's public address as a browser would, and find it in the database.

    The event counts as a bot's and is deleted again. Exit code 1 if a step fails.
    """
    settings = load_settings()
    local = _running_address(settings)
    steps: list[Step] = []
    with running_database(settings) as url, connect(url) as connection:
        found = registry.get_site(url, site_id)
        for step in check_way(connection, found, settings, local):
            steps.append(step)
            if not as_json:
                _print_step(step)
    failed = any(step.status == "failed" for step in steps)
    if as_json:
        console.print_json(
            {"site_id": site_id, "address": settings.public_url or local, "ok": not failed, "steps": steps}
        )
    if failed:
        sys.exit(1)


def _print_step(step: Step) -> None:
    sign = {"ok": "✓", "failed": "✗", "waiting": "…"}[step.status]
    console.out.print(f"{sign} {step.name}: {step.detail}", markup=False)
    if step.remedy:
        console.out.print(f"  {step.remedy}", markup=False)


def _change(work: Callable[[str], registry.Change], *, as_json: bool) -> None:
    """Change a site and print the difference."""
    with running_database(load_settings()) as url:
        change = work(url)
    if as_json:
        console.print_json(change)
        return
    site_id = change.site.site_id
    if not change.changes:
        click.echo(f"{site_id}: nothing to change.")
        return
    click.echo(f"{site_id}:")
    for field, values in change.changes.items():
        label = "state" if field == "is_open" else field
        click.echo(f"  {label}: {_shown(field, values.old)} → {_shown(field, values.new)}")
    if change.changes.keys() & {"domains", "is_open"}:
        click.echo("The ingest API notices within a minute.")
    if change.changes.keys() & {"domains", "timezone"}:
        click.echo("The models build this site's sessions again on their next run.")


def _shown(field: str, value: object) -> str:
    """A value of a site as people read it."""
    if field == "is_open":
        return "open" if value else "closed"
    return ", ".join(map(str, value)) or "any" if isinstance(value, list) else str(value)


def _planned(removal: registry.Removal) -> str:
    """What a removal will do, after "will"."""
    if removal.action == "removed":
        return f"remove the site {removal.site_id}, which holds no data."
    rows = ", ".join(f"{table}: {count:,}" for table, count in removal.rows.items())
    return f"close the site {removal.site_id}: its key is refused, its data stays (rows of {rows})."


def _confirms(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UserError("This command asks before it goes on, and its input is no terminal.", "Add --yes.")
    return click.confirm(question, err=True)


def _with_preview(domains: tuple[str, ...], tilda_preview: bool) -> list[str]:
    return [*domains, registry.TILDA_PREVIEW] if tilda_preview else list(domains)


def _snippet_address(settings: Settings, asked: str | None) -> str:
    """The public address of the API; without one, the running stack's own.

    Raises:
        UserError: `asked` cannot be used, or there is no address at all.
    """
    if asked is not None:
        try:
            return public_address(asked)
        except ValueError as error:
            raise UserError(f"The address {asked} cannot be used: {error}.", "Correct --ingest-url.") from error
    address = settings.public_url or _running_address(settings)
    if address is None:
        raise UserError(
            "The public address of the ingest API is not known.",
            "Set PUBLIC_URL in .env, such as PUBLIC_URL=https://stats.example.com.",
        )
    return address


def _running_address(settings: Settings) -> str | None:
    """The API's address on this machine while the stack runs."""
    state = running(settings.data_dir)
    return state.urls.get("ingest") if state else None


COMMANDS = (site, snippet, check)
