"""`tilda mindsdb`."""

from __future__ import annotations

import click

from tilda import console, mindsdb_process
from tilda.commands.stack import up
from warehouse.kit.errors import UserError
from warehouse.kit.settings import load_settings


@click.command("mindsdb")
@click.option("--install", "only_install", is_flag=True, help="Install only; start nothing.")
@click.pass_context
def mindsdb_(context: click.Context, *, only_install: bool) -> None:
    """Install a MindsDB server and run it with the stack, to read scores with MySQL clients."""
    settings = load_settings()
    with console.waiting("Installing MindsDB"):
        mindsdb_process.install()
    if only_install:
        return
    if not mindsdb_process.is_wanted(settings):
        raise UserError("The stack does not run MindsDB, because MINDSDB is 0 or MINDSDB_URL is set.", "Unset both.")
    context.invoke(up, with_demo=False, detach=True)
    with console.waiting("Waiting for MindsDB"):
        mindsdb_process.wait_until_serving(settings)
    mindsdb_process.print_connection_help(settings)
    console.echo(
        f"The daily run publishes the models. Publish them now: tilda materialize 'key:\"{mindsdb_process.ASSET}\"'"
    )


COMMANDS = (mindsdb_,)
