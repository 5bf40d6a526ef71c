"""Check a selection of assets before the definitions are loaded.

Loading the definitions takes several seconds, and on a clean clone dbt parses its project first. This module finds the
names of all assets without loading them: dbt's from the names of the project's files, the others from their modules.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from warehouse.kit.errors import UserError
from warehouse.kit.installation import shipped
from warehouse.kit.settings import load_settings

PROJECT_DIR = shipped("dbt_project")
ATTRIBUTES = ("key", "group", "kind", "tag", "owner", "column", "table_name", "column_tag", "code_location")
SOURCES = "default"
"""The group that Dagster gives to dbt's sources, which cannot be materialized."""
CUSTOM = "custom"
"""The schema and the group of the owner's models."""
_SYNTAX_HINT = """Use Dagster's syntax, for example 'group:marts' or 'key:"marts/sessions"+'."""


def check_selection(selection: str) -> dg.AssetSelection:
    """Parse a selection in Dagster's syntax, and check the keys and groups in it.

    Raises:
        UserError: The selection cannot be parsed, or contains an unknown key or group; the remedy names a similar one.
    """
    try:
        parsed = dg.AssetSelection.from_string(selection)
    except dg.DagsterError as error:
        raise _invalid(selection) from error
    terms = list(_terms(parsed))
    if terms:
        groups = known_assets()
        for kind, name in terms:
            _check_term(kind, name, groups)
    return parsed


def known_assets() -> dict[str, str]:
    """Return the group of every asset by its key, such as `marts/sessions`."""
    # PLC0415 - this import takes a second; a selection with a syntax error fails before it
    from orchestration.python_assets import PYTHON_ASSETS  # noqa: PLC0415

    custom = load_settings().data_dir / "custom"
    own = {key.to_user_string(): group for asset in PYTHON_ASSETS for key, group in asset.group_names_by_key.items()}
    return dict(_dbt_assets(PROJECT_DIR, custom if custom.exists() else PROJECT_DIR / "custom")) | own


def _dbt_assets(project_dir: Path, custom_dir: Path) -> Iterator[tuple[str, str]]:
    """Yield keys and groups of models, seeds and sources, with the rules of `orchestration.lib.dbt.Translator`."""
    project = yaml.safe_load((project_dir / "dbt_project.yml").read_text())
    models: dict[str, Any] = project["models"][project["name"]]
    for path in (project_dir / "models").rglob("*.sql"):
        schema = models[path.relative_to(project_dir / "models").parts[0]]["+schema"]
        yield f"{schema}/{path.stem}", schema
    schema = project["seeds"][project["name"]]["+schema"]
    for path in (project_dir / "seeds").rglob("*.csv"):
        yield f"{schema}/{path.stem}", schema
    for path in (path for suffix in ("sql", "csv") for path in custom_dir.rglob(f"*.{suffix}")):
        yield f"{CUSTOM}/{path.stem}", CUSTOM
    for path in (*(project_dir / "models").rglob("*.yml"), *custom_dir.rglob("*.yml")):
        for source in (yaml.safe_load(path.read_text()) or {}).get("sources", ()):
            for table in source["tables"]:
                yield f"{source.get('schema', source['name'])}/{table['name']}", SOURCES


def _terms(selection: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - Dagster does not export these types
    """Yield the keys and groups in all parts of a selection, as pairs of kind (`key` or `group`) and name."""
    for key in getattr(selection, "selected_keys", ()):
        yield "key", key.to_user_string()
    for group in getattr(selection, "selected_groups", ()):
        yield "group", group
    if wildcard := getattr(selection, "selected_key_wildcard", None):
        yield "key", wildcard
    for part in ("child", "left", "right"):
        if (inner := getattr(selection, part, None)) is not None:
            yield from _terms(inner)
    for operand in getattr(selection, "operands", ()):
        yield from _terms(operand)


def _check_term(kind: str, name: str, groups: dict[str, str]) -> None:
    names = sorted(set(groups.values()) - {SOURCES} if kind == "group" else groups)
    if any(fnmatchcase(known, name) for known in names):
        return
    if kind == "group":
        problem, listed = f"No group of assets is named {name!r}.", f" The groups are {', '.join(names)}."
    else:
        problem, listed = f"No asset is named {name!r}.", " The Dagster page lists the assets."
    if kind == "key" and name in groups.values():
        raise UserError(problem, f"Did you mean 'group:{name}'?")
    by_last_part = {known.rpartition("/")[2]: known for known in names}
    similar = difflib.get_close_matches(name, names, n=1) or [
        by_last_part[part] for part in difflib.get_close_matches(name.rpartition("/")[2], by_last_part, n=1)
    ]
    pattern = "group:{}" if kind == "group" else 'key:"{}"'
    hint = f"Did you mean '{pattern.format(similar[0])}'?" if similar else ""
    raise UserError(problem, f"{hint}{listed}".strip())


def _invalid(selection: str) -> UserError:
    for attribute in re.findall(r"\b([A-Za-z_]+):", selection):
        if attribute not in ATTRIBUTES:
            similar = difflib.get_close_matches(attribute, ATTRIBUTES, n=1)
            hint = f"Did you mean {selection.replace(f'{attribute}:', f'{similar[0]}:')!r}? " if similar else ""
            return UserError(
                f"The selection {selection!r} is invalid: assets have no attribute {attribute!r}.",
                f"{hint}The attributes are {', '.join(ATTRIBUTES)}.",
            )
    return UserError(f"The selection {selection!r} is invalid.", _SYNTAX_HINT)
