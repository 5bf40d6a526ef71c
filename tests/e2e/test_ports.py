"""A port in use is an error that names the process; only the demo uses another port. Orphan processes are stopped."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tilda import mindsdb_process
from tilda.ports import choose_ports
from tilda.processes import Recorded
from tilda.state import State
from warehouse.kit.database import running_database
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.errors import UserError
from warehouse.kit.ports import free_port, require_free
from warehouse.kit.settings import Settings

LOOPBACK = "127.0.0.1"
FIRST = 10_000 + os.getpid() % 2_000 * 10


def settings_on(taken: int, data_dir: Path, **values: object) -> Settings:
    """Return settings whose default INGEST_PORT is the taken port."""

    class Defaults(Settings):
        ingest_port: int = taken

    return Defaults(_env_file=None, data_dir=data_dir, **values)  # pyright: ignore[reportCallIssue]


@pytest.fixture
def taken() -> Iterator[int]:
    port = free_port(FIRST)
    with socket.create_server((LOOPBACK, port)):
        yield port


@contextmanager
def server_process(port: int, data_dir: Path) -> Iterator[psutil.Process]:
    """Run an orphan process that listens on a port, as after the death of a supervisor."""
    code = (
        "import os, socket, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        f"server = socket.create_server(('{LOOPBACK}', {port}))\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = os.environ | {"DATA_DIR": str(data_dir)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        orphan = psutil.Process(int(process.stdout.readline()))
        try:
            yield orphan
        finally:
            if orphan.is_running():
                orphan.kill()


def test_taken_default_port_is_an_error_that_names_process_and_setting(taken: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"Port {taken} .* process {os.getpid()} \(.*INGEST_PORT"):
        choose_ports(settings_on(taken, tmp_path), {"ingest_port": LOOPBACK}, move=False)


def test_demo_moves_a_taken_default_port_but_not_a_configured_port(taken: int, tmp_path: Path) -> None:
    chosen = choose_ports(settings_on(taken, tmp_path), {"ingest_port": LOOPBACK}, move=True)
    assert chosen["ingest_port"] > taken
    with pytest.raises(UserError, match="PRIVATE_PORT"):
        choose_ports(settings_on(taken, tmp_path, private_port=taken), {"private_port": LOOPBACK}, move=True)


def test_two_settings_with_the_same_port_are_an_error(tmp_path: Path) -> None:
    port = free_port(FIRST)
    hosts = {"ingest_port": LOOPBACK, "private_port": LOOPBACK}
    same = settings_on(port, tmp_path, private_port=port, postgres_port=port + 1)
    with pytest.raises(UserError, match=f"INGEST_PORT and PRIVATE_PORT are both {port}"):
        choose_ports(same, hosts, move=False)
    with pytest.raises(UserError, match=f"POSTGRES_PORT and INGEST_PORT are both {port}"):
        choose_ports(settings_on(port, tmp_path, postgres_port=port), hosts, move=False)


def test_orphan_of_this_stack_is_stopped_and_a_foreign_process_is_not(tmp_path: Path) -> None:
    port = free_port(FIRST)
    hosts = {"ingest_port": LOOPBACK}
    with server_process(port, tmp_path / "other") as other:
        with pytest.raises(UserError, match=rf"process {other.pid} \("):
            choose_ports(settings_on(port, tmp_path), hosts, move=False)
        assert other.is_running()
    with server_process(port, tmp_path) as orphan:
        assert choose_ports(settings_on(port, tmp_path), hosts, move=False) == {"ingest_port": port}
        assert not orphan.is_running()
    with server_process(port, tmp_path) as orphan:
        assert choose_ports(settings_on(port, tmp_path), hosts, move=True) == {"ingest_port": port}


def test_port_error_without_access_to_all_sockets_names_only_own_processes(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)  # macOS
    with pytest.raises(UserError, match=f"process {os.getpid()} "):
        require_free(taken, setting="INGEST_PORT")
    monkeypatch.setattr(psutil.Process, "net_connections", refuse)
    with pytest.raises(UserError, match="a process that this user cannot see"):
        require_free(taken, setting="INGEST_PORT")


def test_address_of_another_machine_is_not_reported_as_taken() -> None:
    with pytest.raises(UserError, match="Nothing can listen on port") as caught:
        require_free(FIRST, "203.0.113.1", setting="INGEST_PORT")
    assert "taken" not in str(caught.value)


def test_taken_port_on_ipv6_is_detected() -> None:
    port = free_port(FIRST, "::1")
    with socket.create_server(("::1", port), family=socket.AF_INET6), pytest.raises(UserError, match="taken by"):
        require_free(port, "::1", setting="INGEST_PORT")


def test_temporarily_started_postgres_keeps_its_configured_port(taken: int, tmp_path: Path) -> None:
    class Defaults(Settings):
        postgres_port: int = taken

    settings = Defaults(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    expected = re.escape(f"Port {taken} on {LOOPBACK} is taken by process {os.getpid()} (")
    with pytest.raises(UserError, match=f"{expected}.*POSTGRES_PORT"), running_database(settings):
        pass


def test_taken_mindsdb_port_moves_in_the_demo_and_is_an_error_otherwise(taken: int, tmp_path: Path) -> None:
    class Defaults(Settings):
        mindsdb_port: int = taken

    settings = Defaults(_env_file=None, data_dir=tmp_path)  # pyright: ignore[reportCallIssue]
    assert mindsdb_process.configure(settings, move_ports=True).addresses.url != f"http://{LOOPBACK}:{taken}"
    with pytest.raises(UserError, match="MINDSDB_PORT") as caught:
        mindsdb_process.configure(settings)
    this_process = Recorded("supervisor", os.getpid(), psutil.Process().create_time())
    State("ready", str(caught.value), this_process).write(tmp_path)  # as the supervisor does
    with pytest.raises(UserError, match="MINDSDB_PORT"):
        mindsdb_process.wait_until_serving(settings, seconds=5)


def test_start_waits_for_postgres_that_is_starting_or_stopping(tmp_path: Path) -> None:
    port = free_port(FIRST)
    server = EmbeddedPostgres(tmp_path / "postgres", password="x")
    try:
        first = threading.Thread(target=server.start, args=[port])
        first.start()
        while not server.is_alive():
            time.sleep(0.002)
        assert server.start(port) == port
        first.join()
        stop = threading.Thread(target=server.stop)
        stop.start()
        while server.running_port() is not None:
            time.sleep(0.002)
        assert server.start(port) == port
        stop.join()
    finally:
        server.remove()
