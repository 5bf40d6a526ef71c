"""The supervisor, which starts, restarts and stops the processes of the stack: `python -m tilda.supervisor`.

`tilda up` starts the supervisor in its own session, reads its state file and stops it with signals. With `--follow`,
the supervisor also stops the stack when its standard input closes, that is, when `tilda up` ends for any reason. With
`--move-ports` (the demo), it uses the next free port for ports that are in use and not set.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx
import psutil

from tilda import mindsdb_process, processes
from tilda.ports import choose_ports
from tilda.processes import Recorded
from tilda.services import Service, listening_on, services
from tilda.state import State, forget, stack_lock
from warehouse.access import logins
from warehouse.kit import migrations
from warehouse.kit.database import DAGSTER_DATABASE, MAIN_DATABASE, direct_url, embedded, ensure_database
from warehouse.kit.errors import UserError, explain
from warehouse.kit.installation import working_dir
from warehouse.kit.settings import Settings, load_settings
from warehouse.propensity.mindsdb_server import announce, withdraw

READY_SECONDS = 300
TICK_SECONDS = 0.25
MINDSDB_RETRY_SECONDS = 10.0
# A child that ends is restarted after a pause, which doubles each time. After a run of GOOD_RUN_SECONDS it is reset.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, GOOD_RUN_SECONDS = 1.0, 60.0, 120.0


class _StopRequestedError(Exception):
    """The supervisor was asked to stop."""


@dataclass
class _Child:
    service: Service
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    pause: float = FIRST_PAUSE_SECONDS
    restart_at: float | None = None


class Supervisor:
    """Starts, watches and stops the processes of the stack."""

    def __init__(self, settings: Settings, *, follow: bool, move_ports: bool) -> None:
        self._settings = settings
        self._follow = follow
        self._move_ports = move_ports
        self._state = State(supervisor=Recorded("supervisor", os.getpid(), processes.own_start_time()))
        self._children: list[_Child] = []
        self._mindsdb: mindsdb_process.Server | None = None
        self._mindsdb_answered = False
        self._mindsdb_retry_at = 0.0

    def run(self) -> int:
        """Run until a signal arrives or the followed command ends. Return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        code = 0
        try:
            self._start()
            self._watch()
        except _StopRequestedError:
            pass
        except Exception as error:  # noqa: BLE001 - after any error, the children are stopped and the state is written
            if not isinstance(error, UserError):
                traceback.print_exception(error)  # goes to the supervisor's log
            self._state.phase, self._state.message = "failed", str(explain(error))
            code = 1
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._stop(failed=code != 0)
        return code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _StopRequestedError

    def _report(self, message: str) -> None:
        self._state.message = message
        self._state.write(self._settings.data_dir)

    def _start(self) -> None:
        settings = self._settings
        withdraw(settings)
        self._report("Starting Postgres")
        if settings.uses_embedded_postgres:
            server = embedded(settings)
            may_move = self._move_ports and not settings.was_set("postgres_port")
            server.start(settings.postgres_port, or_next_free=may_move)
            server.ensure_database(MAIN_DATABASE)
        self._report("Migrating the database")
        owner = direct_url(settings)
        logins.create_missing_logins(owner, settings.secrets)
        logins.require_logins(owner, settings)
        migrations.migrate(owner)
        ensure_database(owner, DAGSTER_DATABASE)

        if mindsdb_process.is_wanted(settings) and mindsdb_process.is_installed():
            mindsdb_process.configure(settings, move_ports=self._move_ports)  # fails here if a port is in use
        ports = choose_ports(settings, listening_on(settings), move=self._move_ports)
        wanted = services(settings, ports)
        self._report("Starting the processes")
        for service in wanted:
            self._children.append(_Child(service, self._spawn(service)))
            self._record()
        for child in self._children:
            self._report(f"Waiting for {child.service.name}")
            self._wait_until_ready(child)
        self._state.urls = {
            child.service.name.removesuffix("-webserver"): child.service.url
            for child in self._children
            if child.service.url
        }
        self._state.phase = "ready"
        self._report("")

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        return processes.spawn(service.command, service.environment, self._log(service), cwd=working_dir())

    def _log(self, service: Service) -> Path:
        return self._settings.data_dir / "logs" / f"{service.name}.log"

    def _record(self) -> None:
        self._state.processes = [
            Recorded(child.service.name, child.process.pid, _start_time(child.process.pid), child.service.url)
            for child in self._children
            if child.process.poll() is None
        ]
        self._state.write(self._settings.data_dir)

    def _wait_until_ready(self, child: _Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            self._stop_if_followed_command_ended()
            if child.process.poll() is not None:
                log = self._log(child.service)
                last_line = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise UserError(
                    f"{child.service.name} ended while it started (code {child.process.returncode}):"
                    f" {last_line[0].rstrip('.') if last_line else 'no message'}.",
                    f"See the log: {log}",
                )
            if child.service.ready_url is None:
                return
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(child.service.ready_url, timeout=5).status_code == 200:
                    return
            if time.monotonic() > deadline:
                raise UserError(
                    f"{child.service.name} was not ready within {READY_SECONDS} seconds.",
                    f"See the log: {self._log(child.service)}",
                )
            time.sleep(TICK_SECONDS)

    def _watch(self) -> None:
        while True:
            self._stop_if_followed_command_ended()
            for child in self._children:
                self._keep_running(child)
            self._restart_postgres()
            self._start_or_announce_mindsdb()
            time.sleep(TICK_SECONDS)

    def _keep_running(self, child: _Child) -> None:
        if child.process.poll() is None:
            return
        now = time.monotonic()
        if child.restart_at is None:
            processes.stop_orphans(child.process.pid)  # they may still use its ports
            if now - child.started > GOOD_RUN_SECONDS:
                child.pause = FIRST_PAUSE_SECONDS
            child.restart_at = now + child.pause
            child.pause = min(child.pause * 2, LONGEST_PAUSE_SECONDS)
        elif now >= child.restart_at:
            child.process, child.started, child.restart_at = self._spawn(child.service), now, None
            self._record()

    def _restart_postgres(self) -> None:
        """Restart the embedded Postgres after a crash, on the same port, because the children know the port."""
        settings = self._settings
        if not settings.uses_embedded_postgres:
            return
        server = embedded(settings)
        if not server.is_alive():
            with contextlib.suppress(UserError):
                server.start(server.last_port() or settings.postgres_port)

    def _start_or_announce_mindsdb(self) -> None:
        """Start MindsDB once it is installed, and publish its addresses once it answers.

        If the server does not answer in time (for example, because its port is in use by then), it is restarted.
        """
        if (
            self._mindsdb_answered
            or not mindsdb_process.is_wanted(self._settings)
            or not mindsdb_process.is_installed()
        ):
            return
        server = self._mindsdb
        child = next((one for one in self._children if one.service.name == mindsdb_process.NAME), None)
        if server is None or child is None:
            self._start_mindsdb()
        elif server.answers():
            self._mindsdb_answered = True
            announce(self._settings, server.addresses)
            self._state.urls |= {"mindsdb": server.addresses.url, "mindsdb-mysql": server.addresses.mysql}
            self._state.write(self._settings.data_dir)
        elif time.monotonic() - child.started > mindsdb_process.START_SECONDS:
            self._stop_child(child)
            self._children.remove(child)

    def _start_mindsdb(self) -> None:
        now = time.monotonic()
        if now < self._mindsdb_retry_at:
            return
        try:
            self._mindsdb = mindsdb_process.configure(self._settings, move_ports=self._move_ports)
        except UserError as error:  # a port is in use; retry later
            self._mindsdb_retry_at = now + MINDSDB_RETRY_SECONDS
            self._report(str(error))
            return
        self._children.append(_Child(self._mindsdb.service, self._spawn(self._mindsdb.service)))
        self._state.message = ""
        self._record()

    def _stop_if_followed_command_ended(self) -> None:
        if self._follow and select.select([sys.stdin], [], [], 0)[0] and not os.read(sys.stdin.fileno(), 4096):
            raise _StopRequestedError

    def _stop_child(self, child: _Child) -> None:
        """Stop a child and its descendants."""
        if child.process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                processes.stop(psutil.Process(child.process.pid))
            child.process.wait()
        processes.stop_orphans(child.process.pid)

    def _stop(self, *, failed: bool) -> None:
        data_dir = self._settings.data_dir
        if not failed:
            self._state.phase = "stopping"
            self._report("Stopping")
        for child in reversed(self._children):
            self._stop_child(child)
        withdraw(self._settings)
        if self._settings.uses_embedded_postgres:
            embedded(self._settings).stop()
        if failed:
            self._state.processes = []
            self._state.write(data_dir)
        else:
            forget(data_dir)


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def main() -> int:
    """Run the supervisor. Return the exit code: 3 if a stack is already running, 1 after an error."""
    try:
        settings = load_settings()
        with stack_lock(settings.data_dir) as alone:
            if not alone:
                return 3
            stop_leftovers(settings)
            return Supervisor(settings, follow="--follow" in sys.argv, move_ports="--move-ports" in sys.argv).run()
    except (UserError, OSError) as error:
        sys.stderr.write(f"{explain(error)}\n")
        return 1


def stop_leftovers(settings: Settings) -> int:
    """Stop the children that a killed supervisor left running. Return the number of stopped processes."""
    state = State.read(settings.data_dir)
    count = 0
    for recorded in state.processes if state else []:
        process = recorded.find()
        if process is not None:
            processes.stop(process)
            count += 1
        count += processes.stop_orphans(recorded.pid)
    withdraw(settings)
    forget(settings.data_dir)
    return count


if __name__ == "__main__":
    sys.exit(main())
