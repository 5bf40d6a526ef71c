"""The built wheel runs the stack with only the locked runtime packages installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import Stack
from tests.locks import ROOT


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a virtual environment and install the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv", path=f"{ROOT / '.tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert uv is not None, "`make setup` installs uv"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    place = folder / "environment"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
    pip = [uv, "pip", "install", "--quiet", "--python", place / "bin" / "python"]
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements.lock"], check=True)
    subprocess.run([*pip, "--no-deps", wheel], check=True)
    return place


@pytest.fixture(scope="module")
def stack(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the stack of the wheel with the default DATA_DIR, from an empty folder."""
    home = tmp_path_factory.mktemp("home")
    stack = Stack(
        home / "tilda-analytics" / "data",
        settings={"XDG_DATA_HOME": str(home), "DATA_DIR": ""},
        tilda=environment / "bin" / "tilda",
        folder=tmp_path_factory.mktemp("elsewhere"),
    )
    stack.run("up", "--detach")
    yield stack
    stack.run("down")


def files(environment: Path) -> set[Path]:
    return {path for path in environment.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_wheel_contains_the_project_files_and_no_tests(environment: Path) -> None:
    [packages] = environment.glob("lib/python3*/site-packages")
    shipped = packages / "warehouse" / "shipped"
    for name in ("sql", "dbt_project/models", "dbt_project/macros", "dbt_project/seeds", "collector/dist"):
        of_checkout = {path.name for path in (ROOT / name).rglob("*") if path.is_file()}
        assert {path.name for path in (shipped / name).rglob("*") if path.is_file()} == of_checkout, name
    assert (shipped / "workspace.yaml").read_text() == (ROOT / "workspace.yaml").read_text()
    assert not (packages / "bench").exists()
    assert not (packages / "tests").exists()
    assert not list(packages.glob("playwright*"))


def test_wheel_serves_the_collector_and_counts_an_event(environment: Path, stack: Stack) -> None:
    before = files(environment)
    stack.run("site", "add", "shop", "--domain", "shop.example")
    [site] = json.loads(stack.run("site", "list", "--json"))
    status = stack.status()
    script = (ROOT / "collector" / "dist" / "collector.shop.js").read_text()
    assert httpx.get(f"{status['ingest_url']}/collector.js").text == script
    with_settings = httpx.get(f"{status['ingest_url']}/collector.js", params={"key": site["public_key"]}).text
    assert '"consent":"tilda"' in with_settings
    assert "robokassa.ru" in with_settings, "the wheel contains the list of payment services"
    event = {"event_id": str(uuid.uuid4()), "event_type": "signup", "user_id": "u"}
    answer = httpx.post(f"{status['ingest_url']}/api/events", params={"key": site["public_key"]}, json=[event])
    assert answer.json()["accepted"] == 1
    assert stack.status()["events"] == 1
    # The manifest shows that Dagster loaded the definitions, because loading parses the dbt project.
    assert (stack.data_dir / "dbt" / "tilda" / "manifest.json").exists()
    assert files(environment) == before, "installed files may be read-only, so the stack must not change them"


@pytest.mark.long
def test_wheel_materialises_every_asset(environment: Path, stack: Stack) -> None:
    before = files(environment)
    assert json.loads(stack.run("materialize", "--json"))["checks_failed"] == []
    assert files(environment) == before
