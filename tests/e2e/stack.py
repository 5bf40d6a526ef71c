"""Runs the `tilda` command for tests with a separate data directory and separate ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warehouse.kit.database import direct_url
from warehouse.kit.ports import free_port
from warehouse.kit.settings import Settings

PROGRAMS = Path(sys.executable).parent
SECRETS = [name.upper() for name in Settings.secret_names()]
UNSET = {"MINDSDB_URL", *SECRETS, *(f"{name}_FILE" for name in SECRETS)}


def free_ports() -> dict[str, int]:
    """Return a free port for each port setting. Parallel test runs start their search at different ports."""
    first = 10_000 + os.getpid() % 2_000 * 10
    ports: dict[str, int] = {}
    for name in ("POSTGRES_PORT", "INGEST_PORT", "PRIVATE_PORT", "DAGSTER_PORT", "MINDSDB_PORT", "MINDSDB_MYSQL_PORT"):
        ports[name] = free_port(first, taken=frozenset(ports.values()))
    return ports


@dataclass(frozen=True)
class Stack:
    """Runs `tilda` on one data directory, from the checkout or from an installed wheel."""

    data_dir: Path
    ports: dict[str, int] = field(default_factory=free_ports)
    settings: dict[str, str] = field(default_factory=dict[str, str])
    tilda: Path = PROGRAMS / "tilda"
    folder: Path | None = None

    def environment(self) -> dict[str, str]:
        ports = {name: str(port) for name, port in self.ports.items()}
        base = {name: value for name, value in os.environ.items() if name not in UNSET}
        # MindsDB is off because it starts slowly. tests/e2e/test_mindsdb.py covers it.
        return base | ports | {"DATA_DIR": str(self.data_dir), "MINDSDB": "0"} | self.settings

    def popen(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.tilda), *arguments],
            cwd=self.folder,
            env=self.environment() | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, timeout: float = 240, **more: str) -> str:
        """Run a command, require the exit code `code`, and return stdout followed by stderr."""
        with self.popen(*arguments, **more) as process:
            out, err = process.communicate(timeout=timeout)
        assert process.returncode == code, f"tilda {' '.join(arguments)}: {process.returncode}\n{out}\n{err}"
        return out + err

    def owner_url(self) -> str:
        """Return the URL of the running embedded Postgres with the owner's login."""
        return direct_url(Settings(_env_file=None, data_dir=self.data_dir))

    def status(self) -> dict[str, Any]:
        with self.popen("status", "--json") as process:
            out, _ = process.communicate(timeout=60)
        return json.loads(out)
