"""The dbt project for Dagster: its manifest, its environment variables and its asset keys."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
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
GROUPS = ("staging", "intermediate", "marts", "custom")
SOURCE_SUFFIXES = {".sql", ".yml", ".yaml", ".csv", ".md", ".py"}
TEMPLATES = PROJECT_DIR / "custom"
"""What a new folder of custom models contains."""


def load_project() -> DbtProject:
    """Return the dbt project, after writing its manifest if the manifest is missing or stale.

    The manifest contains the name of the database, so each database has its own manifest.

    Raises:
        RuntimeError: dbt cannot parse the project.
    """
    settings = load_settings()
    database = database_name(settings)
    target = target_folder(settings) / database
    folder = project_folder(settings)
    target.mkdir(parents=True, exist_ok=True)
    # The webserver and the daemon load the definitions at the same time; the lock lets only one of them parse.
    with (target_folder(settings) / "manifest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        link_project(settings)
        project = DbtProject(project_dir=folder, profiles_dir=folder, target_path=target)
        if is_stale(project.manifest_path, PROJECT_DIR, custom_folder(settings)):
            sources = sources_hash(PROJECT_DIR, custom_folder(settings))
            _parse(folder, target, database)
            _hash_file(project.manifest_path).write_text(sources)
    return project


def target_folder(settings: Settings) -> Path:
    """Return the folder for dbt's output. It is in DATA_DIR, because an installed project is read-only."""
    return settings.data_dir / "dbt"


def custom_folder(settings: Settings) -> Path:
    """Return the folder of the owner's models: in DATA_DIR, because an upgrade replaces the project."""
    return settings.data_dir / "custom"


def project_folder(settings: Settings) -> Path:
    """Return the folder from which dbt reads: the installed project and the owner's models (`link_project`)."""
    return target_folder(settings) / "project"


def link_project(settings: Settings) -> None:
    """Link the files of the installed project and the folder of the owner's models into `project_folder`.

    dbt reads models only from folders below its project: it would write the compiled form of a file elsewhere over the
    file itself.
    """
    folder, custom = project_folder(settings), custom_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    add_templates(custom)
    wanted = {path.name: path for path in PROJECT_DIR.iterdir() if path.name != "target"} | {"custom": custom}
    for link in folder.iterdir():
        if link.name not in wanted or link.resolve() != wanted[link.name].resolve():
            link.unlink()
    for name, path in wanted.items():
        if not (folder / name).exists():
            (folder / name).symlink_to(path.resolve())


def add_templates(folder: Path) -> None:
    """Copy the template files that the folder of the owner's models lacks. The product's models read two of them."""
    for template in TEMPLATES.rglob("*"):
        copy = folder / template.relative_to(TEMPLATES)
        if template.is_dir() or copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, copy)


def _parse(folder: Path, target: Path, database: str) -> None:
    """Write the manifest with `dbt parse`.

    Dagster's own `DagsterDbtProjectPreparer` is not used: it fails if dbt is not on PATH.

    Raises:
        RuntimeError: dbt cannot parse the project.
    """
    options = {"--project-dir": folder, "--profiles-dir": folder, "--target-path": target}
    options["--log-path"] = target
    command = [dbt_executable(), "--quiet", "parse", *(os.fspath(part) for pair in options.items() for part in pair)]
    environment = os.environ | {"DBT_DATABASE": database}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"dbt cannot parse the project {folder}:\n{done.stdout}{done.stderr}")


def dbt_executable() -> str:
    """Return the path of this environment's dbt, so that dbt does not have to be on PATH."""
    return os.fspath(Path(sys.executable).parent / "dbt")


def is_stale(manifest: Path, *folders: Path) -> bool:
    """Return True if the manifest is missing, or was made from other files or by another version of dbt.

    Modification times are not used: in a newer version of this package, files have the times at which they were packed.
    """
    try:
        return not manifest.exists() or _hash_file(manifest).read_text() != sources_hash(*folders)
    except FileNotFoundError:
        return True


def sources_hash(*folders: Path) -> str:
    """Return a hash of the version of dbt and of the files that the manifest is made from.

    Args:
        folders: The dbt project, and the folder of the owner's models.
    """
    texts = sorted(
        (os.fspath(folder), path.relative_to(folder).as_posix(), path.read_bytes())
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in SOURCE_SUFFIXES and "target" not in path.relative_to(folder).parts
    )
    return hashlib.sha256(repr((version("dbt-core"), texts)).encode()).hexdigest()


def _hash_file(manifest: Path) -> Path:
    return manifest.with_suffix(".sha256")


def dbt_environment(url: str) -> dict[str, str]:
    """Return the environment variables with which `profiles.yml` connects dbt to a database.

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
    }


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
    return DbtCliResource(
        project_dir=project, profiles_dir=os.fspath(project.project_dir), dbt_executable=dbt_executable()
    )
