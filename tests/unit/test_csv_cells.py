from datetime import UTC, date, datetime

import pytest

from warehouse.kit.csv_cells import cell


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_a_spreadsheet_would_evaluate_gets_an_apostrophe(first: str) -> None:
    assert cell(f"{first}1+1") == f"'{first}1+1"
    assert cell([f"{first}1", "b"]) == f"'{first}1; b"


def test_other_values_keep_their_meaning() -> None:
    assert [cell(value) for value in ("a=1", "", -0.5, 3, True, None)] == ["a=1", "", -0.5, 3, True, None]
    assert cell(["came back often", "mobile"]) == "came back often; mobile"
    assert cell(datetime(2026, 11, 22, tzinfo=UTC)) == "2026-11-22T00:00:00+00:00"
    assert cell(date(2026, 11, 22)) == "2026-11-22"
