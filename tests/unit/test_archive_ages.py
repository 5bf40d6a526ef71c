from __future__ import annotations

from datetime import UTC, datetime

import pytest

from warehouse.archive.months import months_after


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [("2026-01-01", 6, "2026-07-01"), ("2026-08-31", 6, "2027-02-28"), ("2027-12-31", 2, "2028-02-29"),
     ("2026-11-22", 1, "2026-12-22"), ("2026-12-15", 12, "2027-12-15")],
)  # fmt: skip
def test_month_ages_follow_the_calendar(start: str, count: int, end: str) -> None:
    assert months_after(datetime.fromisoformat(start).replace(tzinfo=UTC), count).date().isoformat() == end
