"""Every dbt model has an owner, a description and data tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
# Each build generates this calendar from a formula, so its rows need no data tests.
UNTESTED = {"time_spine_daily"}


def _described() -> dict[str, dict[str, Any]]:
    """Return the model entries of all YAML files, by model name."""
    found: dict[str, dict[str, Any]] = {}
    for path in (PROJECT / "models").rglob("*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            found[model["name"]] = model
    return found


def test_every_model_and_column_has_a_description() -> None:
    described = _described()
    assert {path.stem for path in (PROJECT / "models").rglob("*.sql")} == described.keys()
    for name, model in described.items():
        assert len(model["description"]) > 10, name
        assert model["columns"], name
        assert all(column.get("description") for column in model["columns"]), name


def test_every_model_has_data_tests() -> None:
    described = _described()
    assert len(described) > 20
    for name, model in described.items():
        tests = model.get("data_tests", []) + [t for column in model["columns"] for t in column.get("data_tests", [])]
        assert tests or name in UNTESTED, name


def test_every_layer_has_an_owner_and_every_mart_a_contract() -> None:
    layers = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["models"]["tilda_analytics"]
    assert all(layers[layer]["+meta"]["owner"] for layer in ("staging", "intermediate", "marts"))
    assert layers["marts"]["+contract"] == {"enforced": True}
    marts = [path.stem for path in (PROJECT / "models" / "marts").rglob("*.sql")]
    assert len(marts) > 10
    for name in marts:
        assert all("data_type" in column for column in _described()[name]["columns"]), name
