"""Values in the cells of CSV files that people open in a spreadsheet."""

from __future__ import annotations

from datetime import date

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """Return the text of a value in a CSV file: times in ISO 8601, the elements of a list separated by `; `.

    A text that a spreadsheet would evaluate as a formula gets a leading apostrophe: clients choose their visitor IDs.
    """
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if isinstance(value, date):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
