"""Metadata for the Dagster UI: counts and decisions, never personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def table(records: Sequence[DataclassInstance]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """Return records of one dataclass as table metadata; an empty sequence becomes the text "none"."""
    if not records:
        return dg.MetadataValue.text("none")
    names = [field.name for field in fields(records[0])]
    rows = [{name: _cell(value) for name, value in asdict(record).items()} for record in records]
    return dg.MetadataValue.table(
        [dg.TableRecord(row) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, _type(rows, name)) for name in names]),
    )


def _cell(value: object) -> str | float | int | bool | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | float | int | bool) or value is None else str(value)


def _type(rows: list[dict[str, Any]], name: str) -> str:
    kinds = {type(row[name]) for row in rows if row[name] is not None}
    return {frozenset({int}): "int", frozenset({float}): "float"}.get(frozenset(kinds), "string")
