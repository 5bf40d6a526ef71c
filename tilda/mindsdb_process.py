"""The optional MindsDB server of the stack: installation, configuration and process.

MindsDB needs an older pandas than this project, so it has its own Python environment (`.tools/mindsdb`), created from
`requirements-mindsdb.lock`. The stack never waits for MindsDB: the supervisor starts it after the installation and
publishes its addresses when it answers. `python -m tilda.mindsdb_process` installs the server.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tilda import console, processes
from tilda.ports import choose_ports
from tilda.services import Service, base_environment
from tilda.state import running
from warehouse.kit.errors import UserError
from warehouse.kit.installation import BASE_DIR, shipped, working_dir
from warehouse.kit.ports import LOOPBACK
from warehouse.kit.settings import Settings
from warehouse.propensity.mindsdb_server import USERNAME, Addresses, own_server

NAME = "mindsdb"
ASSET = "mindsdb/propensity"
START_SECONDS = 180
TOOLS = BASE_DIR / ".tools"
ENVIRONMENT = TOOLS / "mindsdb"
LOCK = shipped("requirements-mindsdb.lock")
LOG = TOOLS / "mindsdb-install.log"
STAMP = ENVIRONMENT / ".installed"
"""Written at the end of an installation, with the hash of the lock file: detects partial and outdated installations."""


def is_wanted(settings: Settings) -> bool:
    """Return whether the stack should run a server: not with MINDSDB=0, and not if MINDSDB_URL names another server."""
    return settings.mindsdb and settings.mindsdb_url is None


def is_installed() -> bool:
    """Return whether the installation is complete and matches the lock file."""
    try:
        return STAMP.read_text() == _pins()
    except OSError:
        return False


def install() -> None:
    """Install the server. Concurrent callers wait for each other; uv caches downloads.

    Raises:
        UserError: The installation failed; the message names the log.
    """
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "mindsdb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed():
            return
        STAMP.unlink(missing_ok=True)
        uv = _find_uv()
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT)])
        _run([uv, "pip", "sync", "--quiet", "--require-hashes", str(LOCK)])
        STAMP.write_text(_pins())


def _find_uv() -> str:
    """Find uv in the checkout, in this Python environment, or on PATH."""
    folders = [TOOLS / "bin", Path(sys.executable).parent, *os.get_exec_path()]
    found = shutil.which("uv", path=os.pathsep.join(map(str, folders)))
    if found is None:
        raise UserError("The installation of MindsDB needs uv, which was not found.", "Install it: pip install uv")
    return found


def start_installing() -> subprocess.Popen[bytes]:
    """Install the server in a child process, which exits with 0 on success and stops when this process ends."""
    return processes.spawn([sys.executable, "-m", "tilda.mindsdb_process"], dict(os.environ), LOG, cwd=working_dir())


def _run(command: list[str]) -> None:
    # lowest CPU priority, because the demo runs at the same time
    environment = os.environ | {"VIRTUAL_ENV": str(ENVIRONMENT)}
    try:
        code = processes.spawn(["nice", "-n", "19", *command], environment, LOG, cwd=working_dir()).wait()
    except OSError as error:
        raise UserError(f"MindsDB cannot be installed: {error}.", "Create the environment first: make setup") from error
    if code != 0:
        raise UserError("MindsDB cannot be installed.", f"See the log: {LOG}")


@functools.cache
def _pins() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Server:
    """A MindsDB server: its process, its addresses, and the password of its login."""

    service: Service
    addresses: Addresses
    password: str = field(repr=False)

    def answers(self) -> bool:
        """Return whether this server is ready. Another server on the same port would refuse the login."""
        login = {"username": USERNAME, "password": self.password}
        try:
            return httpx.post(f"{self.addresses.url}/api/login", json=login, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def configure(settings: Settings, *, move_ports: bool = False) -> Server:
    """Choose the ports and write the configuration.

    Args:
        settings: Settings of the stack.
        move_ports: Whether to use the next free port for ports that are not set.

    Raises:
        UserError: A port is in use.
    """
    hosts = {"mindsdb_port": LOOPBACK, "mindsdb_mysql_port": LOOPBACK}
    ports = choose_ports(settings, hosts, move=move_ports)
    http, mysql = ports["mindsdb_port"], ports["mindsdb_mysql_port"]
    folder = settings.data_dir / "mindsdb"
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it contains the password of the login that reads marts and ml
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "gui": {"open_on_start": False, "autoupdate": False},
                "api": {"http": {"host": LOOPBACK, "port": str(http)}, "mysql": {"host": LOOPBACK, "port": str(mysql)}},
                "jobs": {"disable": True},
                "tasks": {"disable": True},
            }
        )
    )
    url = f"http://{LOOPBACK}:{http}"
    python = str(ENVIRONMENT / "bin" / "python")
    service = Service(
        NAME,
        # lower CPU priority than the ingest API: the start alone uses a core for ten seconds
        ["nice", "-n", "15", python, "-m", "mindsdb", "--config", str(config), "--api", "http,mysql", "--no_studio"],
        base_environment(settings)
        | {
            "MINDSDB_USERNAME": USERNAME,
            "MINDSDB_PASSWORD": settings.secrets.mindsdb_password,
            "MINDSDB_STORAGE_DIR": str(folder / "storage"),
            # MindsDB marks its processes here; two servers that share this folder would delete each other's marks
            "TMPDIR": str(folder / "tmp"),
            "MINDSDB_NO_STUDIO": "1",
            "MINDSDB_GUI_AUTOUPDATE": "false",
            "MINDSDB_BYOM_ENABLED": "true",
            "MINDSDB_BYOM_INHOUSE_ENABLED": "true",
            "MINDSDB_BYOM_DEFAULT_TYPE": "inhouse",
            "SENTRY_IO_DISABLED": "true",
            "CHECK_FOR_UPDATES": "0",
        },
        None,
        url,
    )
    return Server(service, Addresses(url, f"{LOOPBACK}:{mysql}"), settings.secrets.mindsdb_password)


def wait_until_serving(settings: Settings, seconds: float = START_SECONDS) -> Addresses:
    """Wait until the running stack's server answers.

    Raises:
        UserError: The server did not answer in time, or the stack stopped.
    """
    deadline = time.monotonic() + seconds
    while (state := running(settings.data_dir)) is not None and time.monotonic() < deadline:
        addresses = own_server(settings)
        if addresses is not None:
            return addresses
        if state.phase == "ready" and state.message:  # one of the ports is in use
            raise UserError(state.message)
        time.sleep(0.5)
    raise UserError(
        f"MindsDB did not answer within {seconds:.0f} seconds.", f"See the log: {settings.data_dir / 'logs' / NAME}.log"
    )


def memory_bytes(settings: Settings) -> int:
    """Return the unshared memory (USS) of the server and its workers in bytes; 0 if the server is not running."""
    state = running(settings.data_dir)
    server = next((one.find() for one in (state.processes if state else []) if one.name == NAME), None)
    if server is None:
        return 0
    total = 0
    for member in [server, *server.children(recursive=True)]:
        try:
            total += member.memory_full_info().uss
        except psutil.Error:
            continue
    return total


def print_connection_help(settings: Settings) -> None:
    """Print how MySQL clients connect, and the memory that the server uses."""
    own = own_server(settings)
    if own is None:
        return
    host, _, port = own.mysql.rpartition(":")
    console.out.print(f"MySQL clients: mysql -h {host} -P {port} -u {USERNAME} -p mindsdb", markup=False)
    console.out.print("Password: tilda secrets show mindsdb_password")
    console.out.print(f"MindsDB uses {memory_bytes(settings) / 1e6:,.0f} MB of memory; MINDSDB=0 leaves it out.")


def main() -> int:
    """Install the server. Return 0, or 1 after printing the error to standard error."""
    try:
        install()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
