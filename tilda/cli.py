"""The `tilda` command line."""

from __future__ import annotations

import os
import sys

import click
from rich.markup import escape

from tilda.commands import (
    analysts,
    archive,
    data,
    database,
    mindsdb,
    models,
    orders,
    privacy,
    retention,
    sites,
    stack,
)
from tilda.console import as_typed, err, own_name
from warehouse.kit.errors import explain


class _HelpFormatter(click.HelpFormatter):
    def getvalue(self) -> str:
        return as_typed(super().getvalue())


click.Context.formatter_class = _HelpFormatter


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tilda-analytics")
def cli() -> None:
    """Self-hosted analytics for websites made with Tilda.

    `tilda up` starts the stack; `tilda status` shows its addresses. Settings come from the environment and `.env`.
    """


for group in (stack, sites, analysts, data, orders, archive, retention, privacy, database, models, mindsdb):
    for command in group.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line: exit code 0 for success, 1 for an error, 2 for wrong arguments."""
    try:
        cli.main(standalone_mode=False, prog_name=own_name())
    except click.exceptions.Abort:
        err.print("Interrupted.")
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("Interrupted.")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `head` in `tilda … | head` exited
        sys.exit(1)
    except Exception as error:
        if os.environ.get("TILDA_DEBUG"):
            raise
        explained = explain(error)
        message, remedy = (escape(as_typed(text)) for text in (explained.message, explained.remedy))
        err.print(f"[bold red]Error:[/] {message}", remedy)
        sys.exit(1)
