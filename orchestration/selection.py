"""Refuses a selection of assets that cannot name any, within seconds.

Loading the definitions takes several seconds, and on a clean clone dbt parses its project first. The names of all
assets are known without either: dbt's from the names of its files, the others from the modules that define them.
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
"""The group that Dagster gives to dbt's sources. None of them can be materialised."""
CUSTOM = "custom"
"""The schema and the group of the owner's models."""
_EXAMPLES = """Write it in Dagster's syntax, for example 'group:marts' or 'key:"marts/sessions"+'."""


def check_selection(selection: str) -> dg.AssetSelection:
    """Read a selection in Dagster's syntax and check the keys and groups that it names.

    Raises:
        UserError: The text is no selection, or there is no asset of a key or no group of a name; the remedy names the
            closest one that exists.
    """
    try:
        parsed = dg.AssetSelection.from_string(selection)
    except dg.DagsterError as error:
        raise _unreadable(selection) from error
    terms = list(_terms(parsed))
    if terms:
        groups = known_assets()
        for kind, name in terms:
            _check_term(kind, name, groups)
    return parsed


def known_assets() -> dict[str, str]:
    """The group of every asset by its key, such as `marts/sessions`."""
    from orchestration.python_assets import PYTHON_ASSETS  # noqa: PLC0415 - takes a second, unneeded for a syntax error

    custom = load_settings().data_dir / "custom"
    own = {key.to_user_string(): group for asset in PYTHON_ASSETS for key, group in asset.group_names_by_key.items()}
    return dict(_dbt_assets(PROJECT_DIR, custom if custom.exists() else PROJECT_DIR / "custom")) | own


def _dbt_assets(project_dir: Path, custom_dir: Path) -> Iterator[tuple[str, str]]:
    """Keys and groups of models, seeds and sources, as `orchestration.lib.dbt.Translator` gives them."""
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


def _terms(selection: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - Dagster does not export the parts
    """The keys and groups that a selection names, in whatever part of it."""
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
    by_word = {known.rpartition("/")[2]: known for known in names}
    alike = difflib.get_close_matches(name, names, n=1) or [
        by_word[word] for word in difflib.get_close_matches(name.rpartition("/")[2], by_word, n=1)
    ]
    pattern = "group:{}" if kind == "group" else 'key:"{}"'
    hint = f"Did you mean '{pattern.format(alike[0])}'?" if alike else ""
    raise UserError(problem, f"{hint}{listed}".strip())


def _unreadable(selection: str) -> UserError:
    for attribute in re.findall(r"\b([A-Za-z_]+):", selection):
        if attribute not in ATTRIBUTES:
            alike = difflib.get_close_matches(attribute, ATTRIBUTES, n=1)
            hint = f"Did you mean {selection.replace(f'{attribute}:', f'{alike[0]}:')!r}? " if alike else ""
            return UserError(
                f"The selection {selection!r} cannot be read: assets have no attribute {attribute!r}.",
                f"{hint}The attributes are {', '.join(ATTRIBUTES)}.",
            )
    return UserError(f"The selection {selection!r} cannot be read.", _EXAMPLES)
