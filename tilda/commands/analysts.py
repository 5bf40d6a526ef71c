"""`tilda analyst add`, `tilda analyst list`, `tilda analyst remove`."""

from __future__ import annotations

import click

from tilda import console
from warehouse.access import analysts
from warehouse.kit.database import running_database
from warehouse.kit.settings import load_settings

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@click.group()
def analyst() -> None:
    """Manage logins for psql and BI tools that read the schemas marts and ml."""


@analyst.command("add")
@click.argument("name")
@click.option(
    "--modeller", is_flag=True, help="Also let the login read raw events and create schemas, to develop models."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def add(name: str, *, modeller: bool, as_json: bool) -> None:
    """Create a login and print its connection data. The password is printed once and not stored."""
    with running_database(load_settings()) as url:
        access = analysts.add_analyst(url, name, modeller=modeller)
    if as_json:
        console.print_json(access)
        return
    who, what = ("modeller", "raw events and create schemas") if modeller else ("analyst", "the schemas marts and ml")
    click.echo(f"The {who} {name} can read {what}. The password is printed only once:\n")
    for label, value in (
        ("host", access.host),
        ("port", access.port),
        ("database", access.database),
        ("user", access.user),
        ("password", access.password),
        ("SSL mode", access.sslmode),
        ("URL", access.url),
        ("JDBC", access.jdbc),
        ("psql", access.psql),
    ):
        if value is not None:
            click.echo(f"  {label:10}{value}")
    click.echo("\nBI tools (Metabase, Superset, Grafana, Power BI) need these values for a PostgreSQL connection.")
    if access.host in LOOPBACK:
        click.echo(
            "Postgres accepts connections from this machine only. From another machine, open a tunnel: "
            f"ssh -L {access.port}:127.0.0.1:{access.port} USER@THIS_MACHINE"
        )


@analyst.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """List the analysts and their open connections."""
    with running_database(load_settings()) as url:
        found = analysts.list_analysts(url)
    if as_json:
        console.print_json(found)
    elif found:
        console.print_records(found)
    else:
        console.echo("There are no analysts. Add one with: tilda analyst add NAME")


@analyst.command("remove")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Print the planned changes; change nothing.")
def remove(name: str, *, dry_run: bool) -> None:
    """Drop a login and close its connections. Data does not change."""
    with running_database(load_settings()) as url:
        removed = analysts.get_analyst(url, name) if dry_run else analysts.remove_analyst(url, name)
    word = "Would remove" if dry_run else "Removed"
    click.echo(f"{word} the analyst {name} with {removed.connections} open connection(s).")


COMMANDS = (analyst,)
