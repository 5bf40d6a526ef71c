"""Errors that users see state what is wrong and what to do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from warehouse.kit.installation import BASE_DIR

FILES = sorted((BASE_DIR / "warehouse" / "kit").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_error_of_the_kit_has_a_remedy(path: Path) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError"
    ]
    for call in calls:
        assert len(call.args) == 2, f"{path}:{call.lineno}: UserError(message, remedy)"
        remedy = call.args[1]
        assert not isinstance(remedy, ast.Constant) or remedy.value, f"{path}:{call.lineno}: the remedy is empty"
