"""The dbt project for Dagster: its manifest, its environment variables and its asset keys."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject

from warehouse.kit import conninfo
from warehouse.kit.database import database_name, split_address, with_one_host
from warehouse.kit.installation import shipped
from warehouse.kit.settings import Settings, load_settings

PROJECT_DIR = shipped("dbt_project")

IN_THE_PROFILE = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGSERVICE"}
"""Environment variables of libpq whose parameters `profiles.yml` contains."""
GROUPS = ("staging", "intermediate", "marts")


def load_project() -> DbtProject:
    """Return the dbt project, after writing its manifest if the manifest is missing or stale.

    The manifest contains the name of the database, so each database has its own manifest.

    Raises:
        RuntimeError: dbt cannot parse the project.
    """
    settings = load_settings()
    database = database_name(settings)
    target = target_folder(settings) / database
    project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR, target_path=target)
    target.mkdir(parents=True, exist_ok=True)
    # The webserver and the daemon load the definitions at the same time; the lock lets only one of them parse.
    with (target / "manifest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_stale(project.manifest_path, PROJECT_DIR):
            sources = sources_hash(PROJECT_DIR)
            _parse(target, database)
            _hash_file(project.manifest_path).write_text(sources)
    return project


def target_folder(settings: Settings) -> Path:
    """Return the folder for dbt's output. It is in DATA_DIR, because an installed project is read-only."""
    return settings.data_dir / "dbt"


def _parse(target: Path, database: str) -> None:
    """Write the manifest with `dbt parse`.

    Dagster's own `DagsterDbtProjectPreparer` is not used: it fails if dbt is not on PATH.

    Raises:
        RuntimeError: dbt cannot parse the project.
    """
    options = {"--project-dir": PROJECT_DIR, "--profiles-dir": PROJECT_DIR, "--target-path": target}
    options["--log-path"] = target
    command = [dbt_executable(), "--quiet", "parse", *(os.fspath(part) for pair in options.items() for part in pair)]
    environment = os.environ | {"DBT_DATABASE": database}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"dbt cannot parse the project {PROJECT_DIR}:\n{done.stdout}{done.stderr}")


def dbt_executable() -> str:
    """Return the path of this environment's dbt, so that dbt does not have to be on PATH."""
    return os.fspath(Path(sys.executable).parent / "dbt")


def is_stale(manifest: Path, project_dir: Path) -> bool:
    """Return True if the manifest is missing, or was made from other files or by another version of dbt.

    Modification times are not used: in a newer version of this package, files have the times at which they were packed.
    """
    try:
        return not manifest.exists() or _hash_file(manifest).read_text() != sources_hash(project_dir)
    except FileNotFoundError:
        return True


def sources_hash(project_dir: Path) -> str:
    """Return a hash of dbt's version and of all files from which dbt makes the manifest."""
    folders = ("models", "macros", "seeds", "tests")
    sources = [path for folder in folders for path in (project_dir / folder).rglob("*") if path.is_file()]
    sources += [path for name in ("dbt_project.yml", "profiles.yml") if (path := project_dir / name).exists()]
    texts = sorted((path.relative_to(project_dir).as_posix(), path.read_bytes()) for path in sources)
    return hashlib.sha256(repr((version("dbt-core"), texts)).encode()).hexdigest()


def _hash_file(manifest: Path) -> Path:
    return manifest.with_suffix(".sha256")


def dbt_environment(url: str) -> dict[str, str]:
    """Return the environment variables for dbt: the connection for `profiles.yml`, and the hash for `input_hash()`.

    The profile takes only some parameters of a connection; libpq reads the others from its own variables.

    Raises:
        UserError: The address names several hosts, and none accepts a connection.
    """
    address = with_one_host(url)
    parts = split_address(address)
    others = {name: value for name, value in conninfo.as_environment(address).items() if name not in IN_THE_PROFILE}
    return others | {
        "DBT_HOST": parts.host,
        "DBT_PORT": str(parts.port),
        "DBT_USER": parts.user,
        "DBT_PASSWORD": parts.password,
        "DBT_DATABASE": parts.database,
        "DBT_SSLMODE": parts.sslmode,
        "DBT_MACROS_HASH": macros_hash(PROJECT_DIR),
    }


def macros_hash(project_dir: Path) -> str:
    """Return a hash of the source of all macros.

    dbt gives a model a checksum of its own source only. With this hash, an incremental model is fully rebuilt after a
    macro has changed (`macros/incremental.sql`).
    """
    texts = sorted((path.name, path.read_bytes()) for path in (project_dir / "macros").rglob("*.sql"))
    return hashlib.sha256(repr(texts).encode()).hexdigest()


class Translator(DagsterDbtTranslator):
    """Derive asset keys and groups from the Postgres schema: `marts.sessions` has the key `marts/sessions`."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Return the schema and name of the relation as the key."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Return the schema, which names the layer; sources outside the layers belong to the group `events`."""
        schema = dbt_resource_props["schema"]
        return schema if schema in GROUPS else "events"


def dbt_resource(project: DbtProject) -> DbtCliResource:
    """Return the resource that runs this environment's dbt."""
    return DbtCliResource(project_dir=project, profiles_dir=os.fspath(PROJECT_DIR), dbt_executable=dbt_executable())
