"""The committed build of the collector matches its source and is small."""

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

COLLECTOR = Path(__file__).parents[2] / "collector"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the collector from scratch with the locked tools, in a copy of the folder."""
    copy = tmp_path_factory.mktemp("collector") / "collector"
    shutil.copytree(COLLECTOR, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return copy / "dist"


def test_committed_build_equals_a_fresh_build(rebuilt: Path) -> None:
    built = {file.name: file.read_bytes() for file in rebuilt.iterdir()}
    committed = {file.name: file.read_bytes() for file in (COLLECTOR / "dist").iterdir()}
    assert built == committed, "run `make collector` and commit collector/dist"


def test_types_accept_valid_calls_and_refuse_invalid_calls(rebuilt: Path) -> None:
    compiler = rebuilt.parent / "node_modules" / "typescript" / "bin" / "tsc"
    usage = Path(__file__).parent / "types" / "usage.ts"
    options = ["--noEmit", "--strict", "--target", "es2019", "--lib", "es2019,dom"]
    done = subprocess.run(["node", str(compiler), *options, str(usage)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_types_declare_every_public_call() -> None:
    source = (COLLECTOR / "core" / "calls.js").read_text(encoding="utf-8")
    body = re.search(r"^const calls = \{\n(.*?)^\};", source, re.DOTALL | re.MULTILINE)
    assert body
    # `extend` is only for the collector's own modules; an optional module adds `setProperties`.
    calls = set(re.findall(r"^  (\w+)(?=[:(,])", body[1], re.MULTILINE)) - {"extend"} | {"setProperties"}
    declared = re.search(
        r"interface TildaAnalyticsCalls \{(.*?)^\}", (COLLECTOR / "types.d.ts").read_text(), re.DOTALL | re.MULTILINE
    )
    assert declared
    assert calls == set(re.findall(r"^  (\w+)\(", declared[1], re.MULTILINE))


def test_lock_file_contains_no_registry_urls() -> None:
    assert "resolved" not in (COLLECTOR / "package-lock.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("build", "limit"), [("collector.base.js", 6_300), ("collector.shop.js", 7_150)])
def test_compressed_collector_is_small(build: str, limit: int) -> None:
    assert len(gzip.compress((COLLECTOR / "dist" / build).read_bytes(), 9)) <= limit


@pytest.mark.parametrize("build", ["collector.base.js", "collector.shop.js"])
def test_collector_ends_in_the_place_for_the_settings_of_a_site(build: str) -> None:
    assert (COLLECTOR / "dist" / build).read_text(encoding="utf-8").endswith("})({});")


def test_only_the_shop_build_contains_the_shop() -> None:
    with_shop = {path.name for path in (COLLECTOR / "dist").glob("*.js") if "add_to_cart" in path.read_text("utf-8")}
    assert with_shop == {"collector.shop.js"}
