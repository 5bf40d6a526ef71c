"""The dbt project as Dagster sees it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject

from warehouse import conninfo
from warehouse.database import database_name, with_one_host
from warehouse.settings import PROJECT_ROOT, load_settings

PROJECT_DIR = PROJECT_ROOT / "dbt_project"

IN_THE_PROFILE = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE", "PGSERVICE"}
GROUPS = ("staging", "intermediate", "marts")


def load_project() -> DbtProject:
    """The project with a manifest that is up to date: a clean clone has none, and an old one misleads.

    A manifest holds the name of the database, so each database has one of its own.
    """
    database = database_name(load_settings())
    target = PROJECT_DIR / "target" / database
    project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR, target_path=target)
    target.mkdir(parents=True, exist_ok=True)
    # The webserver and the daemon load the definitions at the same moment; one of them parses.
    with (target / "manifest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_stale(project.manifest_path, PROJECT_DIR):
            _parse(target, database)
    return project


def _parse(target: Path, database: str) -> None:
    """Write the manifest. Dagster's own preparer needs dbt on PATH, which `dagster dev` by its full name has not."""
    options = {"--project-dir": PROJECT_DIR, "--profiles-dir": PROJECT_DIR, "--target-path": target}
    command = [dbt_executable(), "--quiet", "parse", *(os.fspath(part) for pair in options.items() for part in pair)]
    environment = os.environ | {"DBT_DATABASE": database}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"dbt cannot read the project {PROJECT_DIR}:\n{done.stdout}{done.stderr}")


def dbt_executable() -> str:
    """The dbt of this environment, by its full name: it need not be on PATH."""
    return os.fspath(Path(sys.executable).parent / "dbt")


def is_stale(manifest: Path, project_dir: Path) -> bool:
    """Whether a file of the project is newer than its manifest, or there is none."""
    if not manifest.exists():
        return True
    made = manifest.stat().st_mtime
    folders = ("models", "macros", "seeds", "tests")
    sources = [path for folder in folders for path in (project_dir / folder).rglob("*")]
    sources += [project_dir, project_dir / "dbt_project.yml", project_dir / "profiles.yml"]
    return any(path.stat().st_mtime > made for path in sources if path.exists() and path != project_dir)


def dbt_environment(url: str) -> dict[str, str]:
    """What `profiles.yml`, libpq and `input_hash()` read.

    The profile takes only some parameters of a connection; libpq finds the others in its own variables.

    Raises:
        UserError: The address names several hosts, and none accepts a connection.
    """
    address = with_one_host(url)
    given = conninfo.parameters(address)
    others = {name: value for name, value in conninfo.as_environment(address).items() if name not in IN_THE_PROFILE}
    return others | {
        "DBT_HOST": given.get("host", ""),
        "DBT_PORT": given.get("port", "5432"),
        "DBT_USER": given["user"],
        "DBT_PASSWORD": given.get("password", ""),
        "DBT_DATABASE": given["dbname"],
        "DBT_SSLMODE": given.get("sslmode", "prefer"),
        "DBT_MACROS_HASH": macros_hash(PROJECT_DIR),
    }


def macros_hash(project_dir: Path) -> str:
    """What tells one text of the macros from another: dbt shows models theirs, and not that of macros.

    Models that were built with other macros are rebuilt whole (`macros/incremental.sql`).
    """
    texts = sorted((path.name, path.read_bytes()) for path in (project_dir / "macros").rglob("*.sql"))
    return hashlib.sha256(repr(texts).encode()).hexdigest()


class Translator(DagsterDbtTranslator):
    """Keys are schema and name, as in Postgres; groups and owners come from the models' `meta`."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`marts/sessions` for the relation `marts.sessions`."""
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The schema, which is the layer."""
        schema = dbt_resource_props["schema"]
        return schema if schema in GROUPS else "events"


def dbt_resource(project: DbtProject) -> DbtCliResource:
    """The dbt command line of this environment."""
    return DbtCliResource(project_dir=project, profiles_dir=os.fspath(PROJECT_DIR), dbt_executable=dbt_executable())
