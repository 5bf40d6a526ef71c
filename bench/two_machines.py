"""Test of two machines that share one Postgres: look for lost and duplicate events when a machine fails.

`python -m bench.two_machines` (as root, on Linux, with iproute2) creates three network namespaces: one for Postgres and
the clients, and one for each machine, connected to the first namespace by two links. If a machine does not acknowledge
a batch, the client sends it to the other machine, as a load balancer would. The steps:

1. The second machine logs in with secrets of its own: Postgres rejects it, and the first machine continues to work.
   It then starts with the passwords of the first machine.
2. The first machine is stopped (SIGTERM) and started again.
3. The link between the second machine and Postgres goes down and up. Meanwhile, the machine spools events to its disk.
4. The first machine is disconnected from Postgres, killed (SIGKILL) with events in its spool, and started again.

The script prints numbers of events and responses as JSON, and exits with 1 if an event was lost or stored twice. It
takes about six times `--seconds` and removes its namespaces at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.crash import STUCK_SECONDS, Clients, CrashResult, compare_with_stored, wait_until_drained
from tests.embedded import running_postgres
from tilda.services import services
from warehouse.access import logins
from warehouse.kit import conninfo, migrations
from warehouse.kit.database import connect, ingest_url
from warehouse.kit.errors import UserError
from warehouse.kit.installation import BASE_DIR
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.sites import registry

PORT = 8700
DATABASE = "tilda"
CENTRE, MACHINES = "db", ("a", "b")


def main() -> int:
    """Run the test and print its results; return the exit code: 1 if an event was lost or stored twice, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="duration of each phase")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return _inside(options.inside, options.seconds)
    prefix = f"tilda-{os.getpid()}-"
    try:
        _make_network(prefix)
        again = [sys.executable, "-m", "bench.two_machines", "--seconds", str(options.seconds), "--inside", prefix]
        limit = options.seconds * 6 + 10 * STUCK_SECONDS
        inside = _in_namespace(prefix + CENTRE)
        return subprocess.run([*inside, *again], cwd=BASE_DIR, timeout=limit, check=False).returncode
    except (OSError, subprocess.CalledProcessError) as error:
        print(
            f"Network namespaces cannot be created: {error}. Run the script as root on Linux, with iproute2.",
            file=sys.stderr,
        )
        return 1
    finally:
        for name in (CENTRE, *MACHINES):
            subprocess.run(["ip", "netns", "delete", prefix + name], stderr=subprocess.DEVNULL, check=False)


def _in_namespace(name: str) -> list[str]:
    return ["ip", "netns", "exec", name]


def _make_network(prefix: str) -> None:
    """Create the three namespaces, and two links from the first to each of the others.

    10.98.N.0/30 leads to Postgres, 10.99.N.0/30 to the clients.
    """
    for name in (CENTRE, *MACHINES):
        subprocess.run(["ip", "netns", "add", prefix + name], check=True)
        subprocess.run(["ip", "-n", prefix + name, "link", "set", "lo", "up"], check=True)
    for number, name in enumerate(MACHINES):
        for purpose, network in (("back", 98), ("front", 99)):
            here, there = f"{purpose}-{name}", purpose
            pair = ["link", "add", here, "netns", prefix + CENTRE, "type", "veth", "peer", "name", there]
            subprocess.run(["ip", *pair, "netns", prefix + name], check=True)
            for place, link, host in ((CENTRE, here, 1), (name, there, 2)):
                address = f"10.{network}.{number}.{host}/30"
                subprocess.run(["ip", "-n", prefix + place, "address", "add", address, "dev", link], check=True)
                subprocess.run(["ip", "-n", prefix + place, "link", "set", link, "up"], check=True)


@dataclass
class Machine:
    """A machine: its network namespace, its settings with a separate DATA_DIR, and its API process."""

    name: str
    namespace: str
    number: int
    settings: Settings
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """Address of the API for clients."""
        return f"http://10.99.{self.number}.2:{PORT}"

    def start(self) -> None:
        """Start the public API with the environment that the stack uses, and wait until it is healthy."""
        service = services(self.settings, {"ingest_port": PORT, "private_port": PORT + 1, "dagster_port": PORT + 2})[0]
        with (self.settings.data_dir / "ingest.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_in_namespace(self.namespace), *service.command],
                env=service.environment,
                cwd=BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError(f"machine {self.name} did not start: see {self.settings.data_dir / 'ingest.log'}")

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the API and its workers, and wait until the API has exited."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait(STUCK_SECONDS)

    def link(self, state: str) -> None:
        """Set the link to Postgres to `up` or `down`."""
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "back", state], check=True)

    def spooled(self) -> int:
        """Return the number of events in this machine's spool."""
        return httpx.get(f"{self.url}/ready", timeout=40).json()["spool"]["rows"]


def _inside(prefix: str, seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="tilda-two-machines-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        password = Secrets.load_or_create(folder / "postgres-secrets").postgres_password
        machines: list[Machine] = []
        options = {"listen_addresses": "'*'"}
        with running_postgres(folder / "postgres", 5432, password, options=options) as postgres:
            postgres.ensure_database(DATABASE)
            with (postgres.data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all 10.98.0.0/16 scram-sha-256\n")
            with connect(postgres.url(DATABASE)) as owner:
                owner.execute("select pg_reload_conf()")
            try:
                return _campaign(prefix, seconds, folder, postgres.url(DATABASE), machines)
            finally:
                for machine in machines:
                    machine.end(signal.SIGKILL)


def _settings(folder: Path, url: str, number: int, **passwords: str) -> Settings:
    address = conninfo.replace(url, {"host": f"10.98.{number}.1"})
    chosen = {"ingest_host": "0.0.0.0", "rate_limit_per_ip": "off", "rate_limit_per_site": "off"}  # noqa: S104 - its own namespace
    return Settings(_env_file=None, data_dir=folder, database_url=address, **chosen, **passwords)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _campaign(prefix: str, seconds: float, folder: Path, url: str, machines: list[Machine]) -> int:
    observed: dict[str, object] = {}
    first_settings = _settings(folder / "a", url, 0)
    logins.create_missing_logins(url, first_settings.secrets)
    migrations.migrate(url)
    key = registry.add_site(url, "shop", ["shop.example"], "UTC").public_key

    second_machine = _settings(folder / "b", url, 1)
    logins.create_missing_logins(url, second_machine.secrets)
    try:
        logins.require_logins(url, second_machine)
    except UserError as error:
        observed["second machine with secrets of its own"] = str(error)
    connect(ingest_url(first_settings)).close()
    observed["first machine afterwards"] = "logs in"

    passwords = {name: getattr(first_settings.secrets, name) for name in logins.PASSWORDS.values()}
    first = Machine("a", prefix + "a", 0, first_settings)
    second = Machine("b", prefix + "b", 1, _settings(folder / "b", url, 1, **passwords))
    machines += [first, second]
    for machine in machines:
        logins.require_logins(url, machine.settings)
        machine.start()

    accounts = [CrashResult(), CrashResult()]
    addresses = [f"{machine.url}/api/events?key={key}" for machine in machines]
    clients = [Clients(addresses[n], accounts[n], [addresses[1 - n]]) for n in range(2)]
    for group in clients:
        group.start()
    time.sleep(seconds)

    first.end(signal.SIGTERM)
    time.sleep(seconds)
    first.start()
    time.sleep(seconds)

    second.link("down")
    time.sleep(seconds)
    observed["spooled events of the second machine while it is disconnected"] = second.spooled()
    second.link("up")
    time.sleep(seconds)

    first.link("down")
    time.sleep(seconds)
    observed["spooled events of the first machine when it is killed"] = first.spooled()
    first.end(signal.SIGKILL)
    first.link("up")
    first.start()

    for group in clients:
        group.stop()
    for machine in machines:
        wait_until_drained(machine.url)
    acknowledged = clients[0].acknowledged | clients[1].acknowledged
    total = CrashResult()
    compare_with_stored(url, acknowledged, total)
    for account in accounts:
        total.accepted += account.accepted
        total.spooled += account.spooled
        total.unexpected += account.unexpected
        total.answers += account.answers
    print(json.dumps(observed | vars(total), indent=1))
    return 1 if total.missing or total.stored_twice or total.unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
