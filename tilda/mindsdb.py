"""The MindsDB server beside the stack: its environment, its configuration, its process.

It wants an older pandas than ours, so it lives in an environment of its own (`.tools/mindsdb`), made from
`requirements-mindsdb.lock`. The stack never waits for it: it joins when it is installed and serves when it answers.
`python -m tilda.mindsdb` installs.
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
from tilda.stack import Service, base_environment
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
"""Written last, with the hash of the lock: an installation that was cut short, or is of other pins, is none."""


def is_wanted(settings: Settings) -> bool:
    """Whether the stack is to run a server: not when it was left out, nor beside one of the owner's."""
    return settings.mindsdb and settings.mindsdb_url is None


def is_installed() -> bool:
    """Whether the server that the lock names is there, whole."""
    try:
        return STAMP.read_text() == _pins()
    except OSError:
        return False


def install() -> None:
    """Make the environment; what was downloaded before is not downloaded again, and a second caller waits.

    Raises:
        UserError: It cannot be made; the log tells why.
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
    """The uv of the checkout, of this Python environment, or of PATH."""
    folders = [TOOLS / "bin", Path(sys.executable).parent, *os.get_exec_path()]
    found = shutil.which("uv", path=os.pathsep.join(map(str, folders)))
    if found is None:
        raise UserError("MindsDB is installed with uv, which was not found.", "Install it first: pip install uv")
    return found


def start_installing() -> subprocess.Popen[bytes]:
    """Install in a process of its own, which ends with this one; 0 is success."""
    return processes.spawn([sys.executable, "-m", "tilda.mindsdb"], dict(os.environ), LOG, cwd=working_dir())


def _run(command: list[str]) -> None:
    # Behind everything else that wants the processor: the demo goes on meanwhile.
    environment = os.environ | {"VIRTUAL_ENV": str(ENVIRONMENT)}
    try:
        code = processes.spawn(["nice", "-n", "19", *command], environment, LOG, cwd=working_dir()).wait()
    except OSError as error:
        raise UserError(f"MindsDB cannot be installed: {error}.", "Set the environment up: make setup") from error
    if code != 0:
        raise UserError("MindsDB cannot be installed.", f"What was tried, and why it failed: {LOG}")


@functools.cache
def _pins() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Server:
    """One server: its process, where it answers, and its login's password."""

    service: Service
    addresses: Addresses
    password: str = field(repr=False)

    def answers(self) -> bool:
        """Whether it is ready and it is this one: another on its port would refuse the login."""
        login = {"username": USERNAME, "password": self.password}
        try:
            return httpx.post(f"{self.addresses.url}/api/login", json=login, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def configure(settings: Settings, *, move_ports: bool = False) -> Server:
    """Choose the ports and write the configuration.

    Args:
        settings: Of the stack.
        move_ports: Whether ports that were not set move to the next free ones.

    Raises:
        UserError: A port is taken.
    """
    hosts = {"mindsdb_port": LOOPBACK, "mindsdb_mysql_port": LOOPBACK}
    ports = choose_ports(settings, hosts, move=move_ports)
    http, mysql = ports["mindsdb_port"], ports["mindsdb_mysql_port"]
    folder = settings.data_dir / "mindsdb"
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it keeps the login that reads marts and ml
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
        # behind what takes events in: its start alone takes a core for ten seconds
        ["nice", "-n", "15", python, "-m", "mindsdb", "--config", str(config), "--api", "http,mysql", "--no_studio"],
        base_environment(settings)
        | {
            "MINDSDB_USERNAME": USERNAME,
            "MINDSDB_PASSWORD": settings.secrets.mindsdb_password,
            "MINDSDB_STORAGE_DIR": str(folder / "storage"),
            # marks of its processes lie here: two servers of one machine would clear each other's away
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
        UserError: It does not in time, or the stack ended.
    """
    deadline = time.monotonic() + seconds
    while (state := running(settings.data_dir)) is not None and time.monotonic() < deadline:
        addresses = own_server(settings)
        if addresses is not None:
            return addresses
        if state.phase == "ready" and state.message:  # one of its ports is taken
            raise UserError(state.message)
        time.sleep(0.5)
    raise UserError(
        f"MindsDB did not answer within {seconds:.0f} seconds.", f"Its log: {settings.data_dir / 'logs' / NAME}.log"
    )


def memory_bytes(settings: Settings) -> int:
    """What the running stack's server and its workers hold of memory, without what they share; 0 when there is none."""
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


def tell_how_to_connect(settings: Settings) -> None:
    """Print the way in for MySQL clients, and what the stack's own server costs."""
    own = own_server(settings)
    if own is None:
        return
    host, _, port = own.mysql.rpartition(":")
    console.out.print(f"MySQL clients: mysql -h {host} -P {port} -u {USERNAME} -p mindsdb", markup=False)
    console.out.print("Its password: tilda secrets show mindsdb_password")
    console.out.print(f"It holds {memory_bytes(settings) / 1e6:,.0f} MB of memory; MINDSDB=0 leaves it out.")


def main() -> int:
    """Install; 0, or 1 with the reason on standard error."""
    try:
        install()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
