"""`tilda user export`, `tilda user erase`."""

from __future__ import annotations

import click

from tilda import console
from warehouse.database import running_database
from warehouse.settings import load_settings


@click.group()
def user() -> None:
    """What is held about a person: shown, or removed from every place."""


@user.command("export")
@click.argument("user_id", metavar="USER_ID")
@click.option("--site", "site_id", required=True, metavar="SITE", help="The person's site.")
def export(user_id: str, site_id: str) -> None:
    """Print everything that is held about the person with this visitor id, as JSON."""
    from warehouse.privacy.export import export as make_export  # noqa: PLC0415 - Arrow takes a while to load

    settings = load_settings()
    with running_database(settings) as url:
        console.print_json(make_export(url, settings, site_id, user_id))


@user.command("erase")
@click.argument("user_id", metavar="USER_ID")
@click.option("--site", "site_id", required=True, metavar="SITE", help="The person's site.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def erase(user_id: str, site_id: str, *, dry_run: bool, as_json: bool) -> None:
    """Forget the person with this visitor id, everywhere, and count what is left: 0.

    All visitor ids of the person count. What arrives late from them is dropped. Killed or refused half-way, the same
    command goes on where it stopped.
    """
    from warehouse.privacy.erase import erase as make_erasure  # noqa: PLC0415 - Arrow takes a while to load

    settings = load_settings()
    with running_database(settings) as url, console.waiting("Connecting", quiet=as_json) as say:
        done = make_erasure(url, settings, site_id, user_id, dry_run=dry_run, say=say)
    if as_json:
        console.print_json(done)
        return
    console.print_table(
        "", ["place", "would be removed" if dry_run else "removed"], sorted(done.removed.items()) or [("nowhere", 0)]
    )
    click.echo(f"Visitor ids of this person: {len(done.visitor_ids)}.")
    if not dry_run:
        click.echo(f"Left anywhere: {done.left}. It took {done.seconds:.1f} s.")
        for backup in done.backups:
            click.echo(f"The backup {backup.name} still holds the person until {backup.expires_at:%Y-%m-%d}.")


COMMANDS = (user,)
