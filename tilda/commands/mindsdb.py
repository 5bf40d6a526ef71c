"""`tilda mindsdb`."""

from __future__ import annotations

import click

from tilda import console, mindsdb
from tilda.commands.stack import up
from warehouse.kit.errors import UserError
from warehouse.kit.settings import load_settings


@click.command("mindsdb")
@click.option("--install", "only_install", is_flag=True, help="Install it, and start nothing.")
@click.pass_context
def mindsdb_(context: click.Context, *, only_install: bool) -> None:
    """Install the MindsDB server and run it beside the stack, for whoever reads scores with a MySQL client."""
    settings = load_settings()
    with console.waiting("Installing MindsDB"):
        mindsdb.install()
    if only_install:
        return
    if not mindsdb.is_wanted(settings):
        raise UserError("The stack runs no MindsDB: MINDSDB is 0, or MINDSDB_URL names one of yours.", "Unset them.")
    context.invoke(up, with_demo=False, detach=True)
    with console.waiting("Waiting for MindsDB"):
        mindsdb.wait_until_serving(settings)
    mindsdb.tell_how_to_connect(settings)
    console.echo(f"Publish the models now: tilda materialize 'key:\"{mindsdb.ASSET}\"'. The daily run does it, too.")


COMMANDS = (mindsdb_,)
