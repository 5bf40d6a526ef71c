"""Output of the command line: progress, tables, JSON and errors.

Messages write commands as `tilda …`; the output shows them as the user must type them.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as ProgressBar
from rich.table import Table

from warehouse.kit.progress import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FILE_WIDTH = 200
"""Columns of output that does not go to a terminal."""


_CALL = re.compile(r"(?<![\w./~=-])tilda(?= [a-z])")
"""A call of the command line in a text, such as "`tilda up`"."""


@functools.cache
def command_name() -> str:
    """Return the command that calls this command line in the user's shell.

    The result is `tilda` if PATH leads to this installation, otherwise the path of the program, relative to the current
    directory if possible.
    """
    program = Path(sys.executable).parent / "tilda"
    found = shutil.which("tilda")
    if found is not None and Path(found).resolve() == program.resolve():
        return "tilda"
    # `make -C FOLDER` (flag w) runs in another directory than the user's shell
    elsewhere = "w" in os.environ.get("MAKEFLAGS", "").partition(" ")[0]
    if not elsewhere and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return shlex.quote(str(program))


def as_typed(text: str) -> str:
    """Replace each call of `tilda` in the text with the form that works in the user's shell."""
    return _CALL.sub(lambda _: command_name(), text)


def echo(text: str) -> None:
    """Print a line of plain text that may contain a command."""
    click.echo(as_typed(text))


class _Console(Console):
    def print(self, *objects: object, **options: Any) -> None:  # noqa: ANN401 - passed on
        super().print(*(as_typed(one) if isinstance(one, str) else one for one in objects), **options)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else FILE_WIDTH
    return _Console(stderr=stderr, highlight=False, soft_wrap=True, width=width)


out = _console(stderr=False)
err = _console(stderr=True)


def print_json(value: object) -> None:
    """Print a JSON document: dataclasses as objects, times as RFC 3339."""
    json.dump(value, sys.stdout, default=_plain, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def _plain(value: object) -> Any:  # noqa: ANN401 - passed to json.dump
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table. Numbers are right-aligned, other values left-aligned."""
    table = Table(title=title or None, title_justify="left", title_style="bold", pad_edge=False, box=box.SIMPLE_HEAD)
    for position, heading in enumerate(headings):
        numeric = all(isinstance(row[position], int | float) or row[position] is None for row in rows) and rows
        table.add_column(heading, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    out.print(table)


def _cell(value: object) -> str:
    """Format a table cell. Square brackets in data are escaped, because rich reads them as markup."""
    return escape(_text(value))


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Generator[Progress]:
    """Show a progress bar on stderr while the block runs. Without a terminal, print one line at the end."""
    bar = ProgressBar(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=err,
        disable=quiet,
    )
    with bar:
        task = bar.add_task(title, total=None)

        def advance(done: float, total: float | None = None) -> None:
            bar.update(task, completed=int(done), total=int(total) if total is not None else None)

        yield advance
        finished = bar.tasks[0].completed
        bar.update(task, total=finished or 1, completed=finished or 1)


@contextmanager
def waiting(title: str, *, quiet: bool = False) -> Generator[Callable[[str], None]]:
    """Show a spinner on stderr while the block runs. The yielded function changes its text."""
    if quiet or not err.is_terminal:
        shown: list[str] = []

        def say(text: str) -> None:
            if not quiet and text and (not shown or shown[-1] != text):
                shown.append(text)
                err.print(f"{text} …")

        say(title)
        yield say
        return
    with err.status(title) as status:
        yield status.update


def print_result(result: DataclassInstance) -> None:
    """Print the fields of a dataclass, one per line, without empty fields."""
    for name, value in asdict(result).items():
        if value or value == 0:
            label = name.replace("_", " ")
            text = (
                ", ".join(f"{key}: {_text(part)}" for key, part in value.items()) if isinstance(value, dict) else value
            )
            text = ", ".join(map(str, text)) if isinstance(text, list | tuple) else text
            out.print(f"{label}: {text if isinstance(text, str) else _text(text)}", markup=False)


def print_records(records: Sequence[DataclassInstance]) -> None:
    """Print dataclass instances of one type as a table."""
    rows = [asdict(record) for record in records]
    if rows:
        print_table("", [name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
