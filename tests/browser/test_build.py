"""The committed build is that of the committed source, and small."""

import csv
import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

COLLECTOR = Path(__file__).parents[2] / "collector"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build made from scratch with the locked tools, in a copy of the folder."""
    copy = tmp_path_factory.mktemp("collector") / "collector"
    shutil.copytree(COLLECTOR, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return copy / "dist"


def test_the_committed_build_is_made_from_the_source(rebuilt: Path) -> None:
    built = {file.name: file.read_bytes() for file in rebuilt.iterdir()}
    committed = {file.name: file.read_bytes() for file in (COLLECTOR / "dist").iterdir()}
    assert built == committed, "run `make collector` and commit collector/dist"


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (COLLECTOR / "package-lock.json").read_text(encoding="utf-8")


def test_the_collector_weighs_at_most_six_kilobytes() -> None:
    assert len(gzip.compress((COLLECTOR / "dist" / "collector.min.js").read_bytes(), 9)) <= 6 * 1000


def test_the_collector_and_the_models_exclude_the_same_referrers() -> None:
    source = (COLLECTOR / "collector.js").read_text(encoding="utf-8")
    listed = re.search(r"REFERRER_EXCLUSIONS = listOf\(\s*`(.*?)\$", source, re.DOTALL)
    assert listed
    with (COLLECTOR.parent / "dbt_project" / "seeds" / "referrer_exclusions.csv").open(encoding="utf-8") as seed:
        assert listed[1].split() == [row["domain"] for row in csv.DictReader(seed)]
