"""Every model says whose it is, what it is and what holds of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
# One row a moment of asking, or a list that every build makes anew: nothing to test of their rows.
UNTESTED = {"time_spine_daily"}


def _described() -> dict[str, dict[str, Any]]:
    """Models of the YAML files, by name."""
    found: dict[str, dict[str, Any]] = {}
    for path in (PROJECT / "models").rglob("*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            found[model["name"]] = model
    return found


def test_every_model_is_described_with_its_columns() -> None:
    described = _described()
    assert {path.stem for path in (PROJECT / "models").rglob("*.sql")} == described.keys()
    for name, model in described.items():
        assert len(model["description"]) > 10, name
        assert model["columns"], name
        assert all(column.get("description") for column in model["columns"]), name


def test_every_model_is_tested() -> None:
    for name, model in _described().items():
        tests = model.get("data_tests", []) + [t for column in model["columns"] for t in column.get("data_tests", [])]
        assert tests or name in UNTESTED, name


def test_every_layer_has_an_owner_and_marts_a_contract() -> None:
    layers = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["models"]["tilda_analytics"]
    assert all(layers[layer]["+meta"]["owner"] for layer in ("staging", "intermediate", "marts"))
    assert layers["marts"]["+contract"] == {"enforced": True}
    for path in (PROJECT / "models" / "marts").glob("*.sql"):
        assert all("data_type" in column for column in _described()[path.stem]["columns"]), path.stem
