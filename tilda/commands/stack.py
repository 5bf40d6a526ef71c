"""`tilda up`, `down`, `status`, `secrets`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields

import click
import psutil
from psycopg import errors

from tilda import console, mindsdb_process, processes
from tilda.state import State, running, stack_lock
from tilda.status import Status, read_status
from tilda.supervisor import stop_leftovers
from warehouse.events.counts import has_events
from warehouse.kit.database import connect, direct_url, embedded
from warehouse.kit.errors import UserError
from warehouse.kit.installation import working_dir
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings, load_settings
from warehouse.sites.registry import list_sites

START_SECONDS = 600
STOP_SECONDS = 120
LIST_FIELDS = {"processes", "refused_origins", "warnings", "problems"}
"""Fields of the status that are lists, printed below the table."""


@click.command()
@click.option(
    "--demo", "with_demo", is_flag=True, help="Load real and simulated data, build the models, train and score."
)
@click.option("--detach", is_flag=True, help="Return when the stack is ready; stop it with `tilda down`.")
def up(*, with_demo: bool, detach: bool) -> None:
    """Start Postgres, the ingest API and Dagster, and keep them running until Ctrl-C.

    Fails if a port is in use; with --demo, uses the next free port for ports that are not set.
    """
    settings = load_settings()
    if with_demo:
        allow_headless_visits(settings)
    # installs in the background; the supervisor starts MindsDB after the installation
    installing = mindsdb_process.start_installing() if with_demo and mindsdb_process.is_wanted(settings) else None
    started = None
    if running(settings.data_dir) is None:
        started = _start_supervisor(settings, follow=not detach, move_ports=with_demo)
    try:
        state = _wait_until_ready(settings, started)
        if with_demo:
            from tilda import demo_run  # noqa: PLC0415 - pandas and scikit-learn take seconds to load

            demo_run.run(settings, state.urls, installing)
            state = running(settings.data_dir) or state
        console.print_table("", ["service", "address"], sorted(state.urls.items()))
        if started is None or detach:
            console.echo("The stack keeps running. Stop it with: tilda down")
            _print_next_steps(settings, in_other_terminal=False)
            return
        click.echo("Serving. Press Ctrl-C to stop.")
        _print_next_steps(settings, in_other_terminal=True)
        _follow(settings, started)
    except BaseException:
        if started is not None:
            _stop(settings, started.pid)
        raise


def allow_headless_visits(settings: Settings) -> None:
    """Exempt headless browsers from bot detection in the API that starts next: the demo uses one."""
    os.environ["BOT_EXCEPTIONS"] = ",".join([*settings.bot_exceptions, "HeadlessChrome"])


def _print_next_steps(settings: Settings, *, in_other_terminal: bool) -> None:
    """Print the commands that lead to the first event, unless an event has already arrived.

    Args:
        settings: Settings of the running stack.
        in_other_terminal: Whether this terminal is occupied by `tilda up`.
    """
    try:
        url = direct_url(settings)
        with connect(url) as connection:
            if has_events(connection):
                return
        sites = list_sites(url)
    except (UserError, errors.Error):  # the stack is running; these steps are only a hint
        return
    name = sites[0].site_id if sites else "mysite"
    steps = {
        "Add your website": f"tilda site add {name} --domain example.com",
        "Print the script for its HEAD": f"tilda snippet {name}",
        "Check that events arrive": f"tilda check {name}",
    }
    click.echo("Next, in another terminal:" if in_other_terminal else "Next:")
    for purpose, command in list(steps.items())[1 if sites else 0 :]:
        console.echo(f"  {purpose + ':':<{max(map(len, steps)) + 1}} {command}")


def _start_supervisor(settings: Settings, *, follow: bool, move_ports: bool) -> subprocess.Popen[bytes]:
    """Start the supervisor in its own session, so that Ctrl-C in this terminal does not reach the supervisor.

    With `follow`, the supervisor's standard input is a pipe, which closes when this command ends for any reason.
    """
    flags = [flag for flag, wanted in (("--follow", follow), ("--move-ports", move_ports)) if wanted]
    log = settings.data_dir / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tilda.supervisor", *flags],
            stdin=subprocess.PIPE if follow else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=working_dir(),
            start_new_session=True,
        )


def _wait_until_ready(settings: Settings, started: subprocess.Popen[bytes] | None) -> State:
    """Wait until the stack is ready, and print its progress.

    Raises:
        UserError: The start failed or timed out.
    """
    deadline = time.monotonic() + START_SECONDS
    with console.waiting("Starting") as say:
        while time.monotonic() < deadline:
            state = State.read(settings.data_dir)
            ours = state and state.supervisor and (started is None or state.supervisor.pid == started.pid)
            if state and ours:
                if state.phase == "ready":
                    return state
                if state.phase == "failed":
                    raise UserError(state.message)
                say(state.message)
            if started is not None and started.poll() is not None and not (ours and state and state.phase == "failed"):
                raise UserError(
                    "Another `tilda up` is running."
                    if started.returncode == 3
                    else f"The supervisor ended (code {started.returncode}).",
                    f"See the log: {settings.data_dir / 'logs' / 'supervisor.log'}",
                )
            time.sleep(0.2)
    raise UserError(f"The stack was not ready within {START_SECONDS} seconds.", f"Logs: {settings.data_dir / 'logs'}")


def _follow(settings: Settings, started: subprocess.Popen[bytes]) -> None:
    try:
        code = started.wait()
    except KeyboardInterrupt:
        _stop(settings, started.pid)
        return
    if code != 0:
        raise UserError(f"The supervisor ended (code {code}).", f"Logs: {settings.data_dir / 'logs'}")


def _stop(settings: Settings, pid: int) -> None:
    """Stop the supervisor and all processes of the stack, and wait until they have ended."""
    with console.waiting("Stopping"):
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor = psutil.Process(pid)
            supervisor.send_signal(signal.SIGTERM)
            _, alive = psutil.wait_procs([supervisor], timeout=STOP_SECONDS)
            for process in alive:
                processes.stop(process)
        _stop_remaining_processes(settings)


def _stop_remaining_processes(settings: Settings) -> int:
    """Stop the processes that a killed supervisor left running. Return their number."""
    with stack_lock(settings.data_dir) as alone:
        if not alone:
            return 0
        count = stop_leftovers(settings)
        if settings.uses_embedded_postgres and embedded(settings).is_alive():
            embedded(settings).stop()
            count += 1
        return count


@click.command()
def down() -> None:
    """Stop the stack, also after a crash."""
    settings = load_settings()
    state = running(settings.data_dir)
    if state and state.supervisor:
        _stop(settings, state.supervisor.pid)
        click.echo("Stopped.")
    elif _stop_remaining_processes(settings):
        click.echo("Stopped processes of an earlier run.")
    else:
        click.echo("Nothing was running.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """Show the processes and addresses of the stack, the stored events, and problems.

    database_url can read the schemas marts and ml. The exit code is 1 if the stack is stopped or has problems.
    """
    settings = load_settings()
    found = read_status(settings, running(settings.data_dir))
    if as_json:
        console.print_json(found)
    else:
        _print_status(found)
    if found.state == "stopped" or found.problems:
        sys.exit(1)


def _print_status(found: Status) -> None:
    shown = {name: value for name, value in asdict(found).items() if name not in LIST_FIELDS}
    if shown.pop("events_are_estimated"):
        shown["events"] = f"about {_rounded(found.events or 0):,}"
    console.print_table(f"Stack: {found.state}", ["name", "value"], list(shown.items()))
    rows = [(one["name"], str(one["pid"]), "running" if one["running"] else "down") for one in found.processes]
    console.print_table("", ["process", "pid", "state"], rows)
    for one in found.refused_origins:
        remedy = f" If this is your site: {one['allow_with']}" if one["allow_with"] else ""
        text = f"{one['requests']:,} requests from {one['origin']} to the site {one['site_id']} were refused.{remedy}"
        console.out.print("Refused:", console.as_typed(text), markup=False)
    for label, sentences in (("Warning", found.warnings), ("Problem", found.problems)):
        for sentence in sentences:
            console.out.print(f"{label}: {sentence}", markup=False)


def _rounded(number: int) -> int:
    """Round to three significant digits, because the number is an estimate."""
    return round(number, 3 - len(str(number)))


@click.group()
def secrets() -> None:
    """Show keys and passwords of the stack."""


@secrets.command("show")
@click.argument("name", type=click.Choice([field.name for field in fields(Secrets)]))
def show_secret(name: str) -> None:
    """Print a secret. A setting of the same name takes precedence over the generated secret."""
    settings = load_settings()
    click.echo(settings.secrets.as_dict()[name])


COMMANDS = (up, down, status, secrets)
