"""Prediction targets, as a YAML file declares them, and the names of their MindsDB views."""

from pathlib import Path

import pytest

from ml.errors import TargetsError
from ml.features import load_targets
from ml.mindsdb_publishing import NAME
from warehouse.propensity.mindsdb_server import view_name


def test_the_default_targets_are_loaded() -> None:
    targets = load_targets()
    assert list(targets) == ["conversion_7d", "purchase_7d", "return_7d"]
    assert not any(target.goals for target in targets.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "declares no target"),
        ("[1, 2]", "declares no target"),
        ("a: {", "cannot be read"),
        ("a: 1", "must have"),
        ("Bad-Name: {label: l, words: w, horizon_days: 7, settle_days: 9, weeks: 12}", "no name of a target"),
        ("a: {label: l, goals: [g], words: w, horizon_days: 7, settle_days: 9, weeks: 12}", "either label or goals"),
        ("a: {label: l, words: w, horizon_days: 9, settle_days: 7, weeks: 12}", "horizon_days <= settle_days"),
        ("a: {label: l, words: w, horizon_days: soon, settle_days: 7, weeks: 12}", "whole numbers"),
    ],
)
def test_an_invalid_targets_file_is_rejected_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "targets.yml"
    path.write_text(text)
    with pytest.raises(TargetsError, match=words):
        load_targets(path)
    with pytest.raises(TargetsError, match="cannot be read"):
        load_targets(tmp_path / "absent.yml")


def test_mindsdb_view_names_are_unique_and_valid() -> None:
    sites = ["shop", "my-shop", "my_shop", "7shop", "a" * 60, "a" * 61, "a" * 59 + "-", "a" * 59 + "_"]
    names = [view_name(site, target) for site in sites for target in ("conversion_7d", "purchase_7d")]
    assert view_name("my-shop", "conversion_7d") == "propensity_my_shop"
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names)
