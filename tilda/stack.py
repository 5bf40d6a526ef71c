"""What the stack consists of: each process's command, environment, address and sign of readiness."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from warehouse.database import dagster_url, direct_url, ingest_url, privacy_url, reader_url
from warehouse.installation import shipped
from warehouse.ports import LOOPBACK, WILDCARDS
from warehouse.settings import Settings

# Taken out of every child's environment; each gets back only what it needs.
SECRET_SETTINGS = (
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "SERVICE_KEY",
    "READER_KEY",
    "TILDA_WEBHOOK_TOKEN",
    "MINDSDB_PASSWORD",
)


@dataclass(frozen=True)
class Service:
    """One process of the stack.

    Attributes:
        name: As `tilda status` shows it.
        command: What is run, in `installation.BASE_DIR`.
        environment: All of it.
        ready_url: Answers 200 when the process is ready; None: ready once it runs.
        url: Where people reach it.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    ready_url: str | None
    url: str | None


def listening_on(settings: Settings) -> dict[str, str]:
    """The address that each process of `services` listens on, by the name of its port's setting."""
    return {"ingest_port": settings.ingest_host, "private_port": LOOPBACK, "dagster_port": LOOPBACK}


def shown_host(host: str) -> str:
    """The host under which this machine reaches a listening address."""
    return LOOPBACK if host in WILDCARDS else host


def base_environment(settings: Settings) -> dict[str, str]:
    """The environment that every child shares: no secret in it, our own programs first on PATH."""
    environment = {name: value for name, value in os.environ.items() if name not in SECRET_SETTINGS}
    programs = str(Path(sys.executable).parent)
    return environment | {
        "PATH": f"{programs}{os.pathsep}{environment.get('PATH', '')}",
        "DATA_DIR": str(settings.data_dir),
        "PYTHONUNBUFFERED": "1",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DO_NOT_TRACK": "1",
        # scikit-learn's threads sleep while they wait: on a busy machine they would spin for minutes
        "OMP_WAIT_POLICY": "passive",
    }


def owner_environment(settings: Settings) -> dict[str, str]:
    """The environment of what works on the whole warehouse: Dagster, dbt, ml."""
    environment = base_environment(settings) | {
        "DATABASE_URL": direct_url(settings),
        "DATABASE_DIRECT_URL": direct_url(settings),
        "DAGSTER_HOME": str(dagster_home(settings)),
        "DAGSTER_POSTGRES_URL": dagster_url(settings),
    }
    if settings.mindsdb_password:
        environment["MINDSDB_PASSWORD"] = settings.mindsdb_password
    return environment


def dagster_home(settings: Settings) -> Path:
    """Dagster's home, made with the project's `dagster.yaml` in it."""
    home = settings.data_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_bytes((files("orchestration") / "dagster.yaml").read_bytes())
    return home


def services(settings: Settings, ports: Mapping[str, int]) -> list[Service]:
    """The processes of the stack in the order in which they start. Postgres runs already.

    Args:
        settings: Of the stack.
        ports: The port of each setting of `listening_on`.
    """
    base = base_environment(settings)
    owner = owner_environment(settings)
    service_key = settings.service_key or settings.secrets.service_key
    reader_key = settings.reader_key or settings.secrets.reader_key
    webhook_token = settings.tilda_webhook_token or settings.secrets.tilda_webhook_token
    workspace = str(shipped("workspace.yaml"))
    serve = [sys.executable, "-m", "ingest_api"]
    public_login, reader_login = ingest_url(settings), reader_url(settings)
    ingest_address = f"http://{shown_host(settings.ingest_host)}:{ports['ingest_port']}"
    private_address = f"http://{LOOPBACK}:{ports['private_port']}"
    dagster_address = f"http://{LOOPBACK}:{ports['dagster_port']}"
    return [
        Service(
            "ingest",
            [*serve, "public"],
            # the process that faces the internet holds no login but its own
            base
            | {
                "DATABASE_URL": public_login,
                "DATABASE_DIRECT_URL": public_login,
                "INGEST_PORT": str(ports["ingest_port"]),
            }
            | {"SERVICE_KEY": service_key, "TILDA_WEBHOOK_TOKEN": webhook_token},
            f"{ingest_address}/ready",
            ingest_address,
        ),
        Service(
            "private",
            [*serve, "private"],
            base
            | {"DATABASE_URL": reader_login, "DATABASE_DIRECT_URL": privacy_url(settings)}
            | {"PRIVATE_PORT": str(ports["private_port"])}
            | {"SERVICE_KEY": service_key, "READER_KEY": reader_key},
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
    """A program of this environment."""
    return str(Path(sys.executable).parent / name)
