"""A real MindsDB server for tests, started with the command and environment of the stack."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pymysql

from ml.mindsdb_client import Server
from tilda import mindsdb_process, processes
from warehouse.kit.installation import BASE_DIR
from warehouse.kit.ports import free_port
from warehouse.kit.settings import Settings
from warehouse.propensity.mindsdb_server import USERNAME

START_SECONDS = 200


class MindsDB:
    """A MindsDB server with its own data folder. The data survives `stop` and `kill`."""

    def __init__(self, folder: Path) -> None:
        mindsdb_process.install()  # waits if another process is installing MindsDB
        http = free_port(47400)
        self.settings = Settings(
            _env_file=None,
            data_dir=folder,
            mindsdb_url=None,
            mindsdb_password=None,
            mindsdb_port=http,
            mindsdb_mysql_port=free_port(http + 1),
        )
        self.server = mindsdb_process.configure(self.settings)
        self.log = folder / "mindsdb.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        service = self.server.service
        self.process = processes.spawn(service.command, service.environment, self.log, cwd=BASE_DIR)

    def wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.server.answers():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.3)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            processes.stop(psutil.Process(self.process.pid))
            self.process.wait()
            processes.stop_orphans(self.process.pid)

    def kill(self) -> None:
        """Send SIGKILL to the process group, as the out-of-memory killer does."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def login(self, password: str | None = None) -> Server:
        return Server(self.server.addresses.url, USERNAME, password or self.settings.secrets.mindsdb_password)

    def mysql(self, query: str, password: str | None = None) -> list[tuple[object, ...]]:
        """Return the rows that a MySQL client receives for a query."""
        host, _, port = self.server.addresses.mysql.rpartition(":")
        with (
            pymysql.connect(
                host=host,
                port=int(port),
                user=USERNAME,
                password=password or self.settings.secrets.mindsdb_password,
                database="mindsdb",
                connect_timeout=60,
                read_timeout=300,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            return list(cursor.fetchall())
