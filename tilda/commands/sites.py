"""`tilda site`, `tilda snippet`, `tilda check`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import click

from tilda import console
from tilda.state import running
from warehouse.kit.addresses import is_local_address, public_address
from warehouse.kit.database import connect, running_database
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings, load_settings
from warehouse.sites import registry
from warehouse.sites.check import Step, check_site
from warehouse.sites.collector import CONSENT_MODES, DEFAULT_CONSENT, CollectorSettings
from warehouse.sites.snippet import snippet as make_snippet

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_preview_option = click.option(
    "--allow-tilda-preview",
    "tilda_preview",
    is_flag=True,
    help=f"Also accept events from {registry.TILDA_PREVIEW}, where Tilda shows all projects without a domain. Prefer"
    " the host of your project, such as project1234567.tilda.ws.",
)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _collector_options(command: _Command) -> _Command:
    """Add an option for each setting of the collector; an option that is not given is None."""
    for setting in reversed(fields(CollectorSettings)):
        flag, help_ = f"--{setting.name.replace('_', '-')}", setting.metadata["help"]
        if setting.name == "consent":
            modes = "; ".join(f"{mode}: {meaning}" for mode, meaning in CONSENT_MODES.items())
            option = click.option(flag, type=click.Choice(list(CONSENT_MODES)), help=f"{help_} {modes}.")
        elif isinstance(setting.default, bool):
            state = "on" if setting.default else "off"
            option = click.option(
                f"{flag}/--no-{flag.removeprefix('--')}", default=None, help=f"{help_} Default: {state}."
            )
        elif isinstance(setting.default, tuple):
            option = click.option(flag, metavar="LIST", help=f"{help_} Separated by commas; '' for none.")
        else:
            option = click.option(flag, metavar="DOMAIN", help=help_)
        command = option(command)
    return command


def _given(options: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


@click.group()
def site() -> None:
    """Manage websites."""


@site.command("add")
@click.argument("site_id", metavar="SITE")
@click.option("--domain", "domains", multiple=True, help="Host name of the site's pages; may be repeated.")
@_preview_option
@click.option("--timezone", default="UTC", show_default=True, help="IANA time zone for the site's days.")
@click.option("--currency", default="RUB", show_default=True, help="Currency of the site's reports (ISO 4217).")
@click.option("--name", help="Display name; default: SITE.")
@_collector_options
@_json_option
def add(
    *,
    site_id: str,
    domains: tuple[str, ...],
    tilda_preview: bool,
    timezone: str,
    currency: str,
    name: str | None,
    as_json: bool,
    **collector: object,
) -> None:
    """Add a site. An existing site is not changed.

    Without --consent, the command asks for the mode of consent; if it cannot ask, the mode is tilda.
    """
    chosen = _given(collector)
    if "consent" not in chosen and not as_json and _is_interactive():
        chosen["consent"] = _ask_for_consent()
    with running_database(load_settings()) as url:
        added = registry.add_site(
            url,
            site_id,
            _with_preview(domains, tilda_preview),
            timezone,
            name,
            currency=currency,
            collector=chosen,
        )
    if as_json:
        console.print_json(added)
        return
    mode = added.collector.consent
    console.echo(f"{added.site_id}: key {added.public_key}, consent mode {mode}: {CONSENT_MODES[mode]}.")
    console.echo(f"Print its snippet: tilda snippet {added.site_id}")


@site.command("show")
@click.argument("site_id", metavar="SITE")
@_json_option
def show(site_id: str, *, as_json: bool) -> None:
    """Show a site."""
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
        ("currency", found.reporting_currency),
        ("key", found.public_key),
        ("added", f"{found.created_at:%Y-%m-%d %H:%M %Z}"),
        *_shown_settings(found.collector),
    ):
        click.echo(f"{label}: {value}")


@site.command("set")
@click.argument("site_id", metavar="SITE")
@click.option("--name", help="Display name.")
@click.option("--timezone", help="IANA time zone for the site's days; rebuilds the reports of all days.")
@click.option("--currency", help="Currency of the site's reports (ISO 4217); rebuilds the reports of all days.")
@click.option("--reopen", is_flag=True, help="Accept events again, after `tilda site remove --keep-data`.")
@_collector_options
@_json_option
def set_(
    *,
    site_id: str,
    name: str | None,
    timezone: str | None,
    currency: str | None,
    reopen: bool,
    as_json: bool,
    **collector: object,
) -> None:
    """Change a site's name, time zone, currency or collector settings, or reopen it.

    An attribute of the script tag in a page takes precedence over the setting.
    """
    chosen = _given(collector)
    if name is None and timezone is None and currency is None and not reopen and not chosen:
        raise click.UsageError("Use at least one option; `tilda site set --help` lists them.")
    _change(
        lambda url: registry.set_site(
            url, site_id, name=name, timezone=timezone, currency=currency, reopen=reopen, collector=chosen
        ),
        as_json=as_json,
    )


@site.command("remove")
@click.argument("site_id", metavar="SITE")
@click.option("--keep-data", is_flag=True, help="Close a site that has data: its key is rejected, its data is kept.")
@click.option("--dry-run", is_flag=True, help="Print the planned changes; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@_json_option
def remove(site_id: str, *, keep_data: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove a site without data, or close a site and keep its data."""
    with running_database(load_settings()) as url:
        planned = registry.remove_site(url, site_id, keep_data=keep_data, dry_run=True)
        if not dry_run:
            if not yes and not _confirms(f"This will {_planned(planned)} Continue?"):
                raise UserError("Nothing was changed.")
            registry.remove_site(url, site_id, keep_data=keep_data)
    if as_json:
        console.print_json(planned)
    elif dry_run:
        click.echo(f"Would {_planned(planned)}")
    else:
        click.echo(f"{site_id}: {planned.action}. The ingest API applies the change within a minute.")


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
    """Manage the domains whose pages may send events. A domain includes its subdomains."""


@domain.command("add")
@click.argument("site_id", metavar="SITE")
@click.argument("domains", metavar="DOMAIN...", nargs=-1)
@_preview_option
@_json_option
def add_domain(site_id: str, domains: tuple[str, ...], *, tilda_preview: bool, as_json: bool) -> None:
    """Accept events from pages of these domains."""
    wanted = _with_preview(domains, tilda_preview)
    if not wanted:
        raise click.UsageError("Name a domain, or set --allow-tilda-preview.")
    _change(lambda url: registry.add_domains(url, site_id, wanted), as_json=as_json)


@domain.command("remove")
@click.argument("site_id", metavar="SITE")
@click.argument("domains", metavar="DOMAIN...", nargs=-1, required=True)
@_json_option
def remove_domain(site_id: str, domains: tuple[str, ...], *, as_json: bool) -> None:
    """Stop accepting events from pages of these domains."""
    _change(lambda url: registry.remove_domains(url, site_id, domains), as_json=as_json)


@click.command()
@click.argument("site_id", metavar="SITE")
@click.option("--ingest-url", metavar="URL", help="Public address of the API; default: PUBLIC_URL.")
def snippet(site_id: str, ingest_url: str | None) -> None:
    """Print the snippet for the HEAD of the site.

    In the consent modes opt-out and cookieless, a second line counts visitors without JavaScript.
    """
    settings = load_settings()
    with running_database(settings) as url:
        found = registry.get_site(url, site_id)
    address = _snippet_address(settings, ingest_url)
    click.echo(make_snippet(found, address, settings))
    if is_local_address(address):
        console.err.print(
            "This snippet works on this machine only. For a website, set PUBLIC_URL in .env to the https address of the"
            f" ingest API and run `tilda snippet {site_id}` again.",
            markup=False,
        )


@click.command()
@click.argument("site_id", metavar="SITE")
@_json_option
def check(site_id: str, *, as_json: bool) -> None:
    """Send an event to the public address as a browser would, and look for it in the database.

    The event is marked as a bot's and is deleted again. The exit code is 1 if a step fails.
    """
    settings = load_settings()
    local = _running_address(settings)
    steps: list[Step] = []
    with running_database(settings) as url, connect(url) as connection:
        found = registry.get_site(url, site_id)
        for step in check_site(connection, found, settings, local):
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
    """Change a site and print the old and new values."""
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
        label = "state" if field == "is_open" else field.replace("_", " ")
        click.echo(f"  {label}: {_shown(field, values.old)} → {_shown(field, values.new)}")
    if change.changes.keys() & {"domains", "is_open"}:
        click.echo("The ingest API applies the change within a minute.")
    if change.changes.keys() & {"domains", "timezone", "reporting_currency"}:
        click.echo("The next run of the models rebuilds the sessions and orders of this site.")
    if change.changes.keys() & {setting.name for setting in fields(CollectorSettings)}:
        click.echo("Visitors' browsers load the changed collector within an hour.")
    if "consent" in change.changes:
        console.echo(
            f"The snippet in your pages names the old mode: replace it with the output of tilda snippet {site_id}."
        )


def _shown(field: str, value: object) -> str:
    """Format a value of a site for display."""
    if field == "is_open":
        return "open" if value else "closed"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or ("any" if field == "domains" else "none")
    return str(value) or "none"


def _shown_settings(collector: CollectorSettings) -> list[tuple[str, str]]:
    """Return the label and value of the settings `consent` and `shop`, and of those that differ from the default."""
    changed = collector.as_json().keys() | {"consent", "shop"}
    return [
        (setting.name.replace("_", " "), _shown(setting.name, getattr(collector, setting.name)))
        for setting in fields(collector)
        if setting.name in changed
    ]


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _ask_for_consent() -> str:
    for mode, meaning in CONSENT_MODES.items():
        click.echo(f"  {mode}: {meaning}", err=True)
    return click.prompt(
        "When may visitors be counted?", type=click.Choice(list(CONSENT_MODES)), default=DEFAULT_CONSENT, err=True
    )


def _planned(removal: registry.Removal) -> str:
    """Describe a removal as the rest of a sentence that begins with "This will"."""
    if removal.action == "removed":
        return f"remove the site {removal.site_id}, which has no data."
    rows = ", ".join(f"{table}: {count:,}" for table, count in removal.rows.items())
    return f"close the site {removal.site_id}: its key is rejected, its data is kept (rows of {rows})."


def _confirms(question: str) -> bool:
    if not _is_interactive():
        raise UserError("This command needs confirmation, but its input is not a terminal.", "Add --yes.")
    return click.confirm(question, err=True)


def _with_preview(domains: tuple[str, ...], tilda_preview: bool) -> list[str]:
    return [*domains, registry.TILDA_PREVIEW] if tilda_preview else list(domains)


def _snippet_address(settings: Settings, asked: str | None) -> str:
    """Return the public address of the API, or the local address of the running stack if PUBLIC_URL is not set.

    Raises:
        UserError: `asked` is invalid, or no address is known.
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
            "Set PUBLIC_URL in .env, for example PUBLIC_URL=https://stats.example.com.",
        )
    return address


def _running_address(settings: Settings) -> str | None:
    """Return the API's address on this machine; None if the stack is not running."""
    state = running(settings.data_dir)
    return state.urls.get("ingest") if state else None


COMMANDS = (site, snippet, check)
