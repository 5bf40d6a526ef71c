"""`tilda materialize`."""

from __future__ import annotations

import click

from tilda import console
from tilda.materialize import materialize as run_materialize
from warehouse.database import running_database
from warehouse.settings import load_settings


@click.command()
@click.argument("selection", default="*")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def materialize(selection: str, *, as_json: bool) -> None:
    """Materialise assets: all, or a SELECTION in Dagster's syntax, as in `tilda materialize 'group:marts'`."""
    settings = load_settings()
    with running_database(settings), console.progress("Materialising", quiet=as_json) as advance:
        result = run_materialize(settings, selection, advance)
    if as_json:
        console.print_json(result)
    else:
        console.print_result(result)


COMMANDS = (materialize,)
