"""Definition of the stack's processes: command, environment, address and readiness check."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tilda.environments import OWNER, STORAGE, SYSTEM, chosen_settings, inherited
from warehouse.kit.database import dagster_url, direct_url, ingest_url, privacy_url, reader_url
from warehouse.kit.installation import shipped
from warehouse.kit.ports import LOOPBACK, WILDCARDS
from warehouse.kit.settings import Settings


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    Attributes:
        name: Name in `tilda status`.
        command: Command line, run in the folder `installation.working_dir()`.
        environment: The complete environment.
        ready_url: URL that answers 200 when the process is ready; None: the process is ready at once.
        url: Address for users.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    ready_url: str | None
    url: str | None


def listening_on(settings: Settings) -> dict[str, str]:
    """Return the listen address of each process of `services`, by name of its port setting."""
    return {"ingest_port": settings.ingest_host, "private_port": LOOPBACK, "dagster_port": LOOPBACK}


def shown_host(host: str) -> str:
    """Return the host at which this machine reaches a listen address."""
    return LOOPBACK if host in WILDCARDS else host


def base_environment(settings: Settings, *more: str) -> dict[str, str]:
    """Return the environment for all children: no secrets, and this installation's programs first on PATH.

    Args:
        settings: Settings; those that are not secret are passed on.
        more: Additional variables to inherit. A name that ends in * is a prefix.
    """
    environment = inherited((*SYSTEM, *more))
    programs = str(Path(sys.executable).parent)
    return environment | chosen_settings(settings) | {
        "PATH": f"{programs}{os.pathsep}{environment.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        # without this, waiting threads of scikit-learn use the CPU for minutes on a busy machine
        "OMP_WAIT_POLICY": "passive",
    }  # fmt: skip


def owner_environment(settings: Settings) -> dict[str, str]:
    """Return the environment for processes that use the complete warehouse: Dagster, dbt, ml."""
    secrets = {
        "READER_PASSWORD": settings.secrets.reader_password,
        "COLD_STORAGE_URL": settings.cold_storage_url,
        "MINDSDB_PASSWORD": settings.mindsdb_password,
    }
    return base_environment(settings, *STORAGE, *OWNER) | _set(secrets) | {
        "DATABASE_URL": direct_url(settings),
        "DATABASE_DIRECT_URL": direct_url(settings),
        "DAGSTER_HOME": str(dagster_home(settings)),
        "DAGSTER_POSTGRES_URL": dagster_url(settings),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }  # fmt: skip


def _set(secrets: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in secrets.items() if value is not None}


def dagster_home(settings: Settings) -> Path:
    """Create Dagster's home folder with the project's `dagster.yaml`, and return its path."""
    home = settings.data_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_bytes((files("orchestration") / "dagster.yaml").read_bytes())
    return home


def services(settings: Settings, ports: Mapping[str, int]) -> list[Service]:
    """Return the processes of the stack in start order. Postgres must be running.

    Args:
        settings: Settings of the stack.
        ports: Port by name of its setting, for each setting of `listening_on`.
    """
    secrets = settings.secrets
    owner = owner_environment(settings)
    workspace = str(shipped("workspace.yaml"))
    serve = [sys.executable, "-m", "ingest_api"]
    ingest_address = f"http://{shown_host(settings.ingest_host)}:{ports['ingest_port']}"
    private_address = f"http://{LOOPBACK}:{ports['private_port']}"
    dagster_address = f"http://{LOOPBACK}:{ports['dagster_port']}"
    # the public process gets only its own database login
    public_login = ingest_url(settings)
    public = {
        "DATABASE_URL": public_login,
        "DATABASE_DIRECT_URL": public_login,
        "INGEST_PORT": str(ports["ingest_port"]),
        "SERVICE_KEY": secrets.service_key,
        "TILDA_WEBHOOK_TOKEN": secrets.tilda_webhook_token,
        "RATE_LIMIT_STORAGE_URL": settings.rate_limit_storage_url,
    }
    # the erasure of a person rewrites cold months, so this process needs their storage
    private = {
        "DATABASE_URL": reader_url(settings),
        "DATABASE_DIRECT_URL": privacy_url(settings),
        "PRIVATE_PORT": str(ports["private_port"]),
        "SERVICE_KEY": secrets.service_key,
        "READER_KEY": secrets.reader_key,
        "COLD_STORAGE_URL": settings.cold_storage_url,
    }
    return [
        Service(
            "ingest",
            [*serve, "public"],
            base_environment(settings) | _set(public),
            f"{ingest_address}/ready",
            ingest_address,
        ),
        Service(
            "private",
            [*serve, "private"],
            base_environment(settings, *STORAGE) | _set(private),
            f"{private_address}/health",
            private_address,
        ),
        Service(
            "dagster-webserver",
            [_program("dagster-webserver"), "-w", workspace, "-h", LOOPBACK, "-p", str(ports["dagster_port"])],
            owner,
            f"{dagster_address}/server_info",
            dagster_address,
        ),
        Service("dagster-daemon", [_program("dagster-daemon"), "run", "-w", workspace], owner, None, None),
    ]


def _program(name: str) -> str:
    """Return the path of a program in this Python environment."""
    return str(Path(sys.executable).parent / name)
