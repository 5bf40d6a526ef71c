"""The hours of the simulation: absolute hours, and which local hour, weekday and day each one is."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000


def midnight(day: date, timezone: ZoneInfo) -> datetime:
    """The moment (UTC) that a local day begins; where clocks skip midnight, the first moment that exists."""
    return datetime.combine(day, time(), timezone).astimezone(UTC)


@dataclass(frozen=True)
class HourGrid:
    """Every hour of a run of local days. Cell c covers [start + c hours, start + c + 1 hours).

    A day that changes its clocks has 23 or 25 cells, and each cell knows its local hour, so behaviour follows the
    clock on the visitor's wall while time itself stays absolute.
    """

    start: datetime
    day_starts: NDArray[np.int64]
    """First cell of each day, and one more entry: the cell after the last day."""
    day_of: NDArray[np.int64]
    local_hour: NDArray[np.int64]
    weekday: NDArray[np.int64]
    """Monday is 0."""

    @classmethod
    def over(cls, first_day: date, days: int, timezone: ZoneInfo) -> "HourGrid":
        """Lay out `days` local days from `first_day`.

        Raises:
            ValueError: The timezone moves its clocks by a part of an hour in this time (Lord Howe Island does).
        """
        midnights = [midnight(first_day + timedelta(days=n), timezone) for n in range(days + 1)]
        seconds = np.array([(moment - midnights[0]).total_seconds() for moment in midnights])
        if np.any(seconds % 3600):
            raise ValueError(f"{timezone.key} moves its clocks by a part of an hour; the simulation needs whole hours.")
        day_starts = (seconds // 3600).astype(np.int64)
        day_of = np.repeat(np.arange(days), np.diff(day_starts))
        cells = [(midnights[0] + timedelta(hours=n)).astimezone(timezone) for n in range(int(day_starts[-1]))]
        return cls(
            start=midnights[0],
            day_starts=day_starts,
            day_of=day_of,
            local_hour=np.array([cell.hour for cell in cells], dtype=np.int64),
            weekday=np.array([cell.weekday() for cell in cells], dtype=np.int64),
        )

    @property
    def start_ms(self) -> int:
        """The first moment, in milliseconds since 1970."""
        return round(self.start.timestamp() * 1000)

    def cell_of(self, moment: datetime) -> int:
        """The cell that begins at or last before `moment` (may lie outside the grid)."""
        return int((moment - self.start) // timedelta(hours=1))

    def day_at(self, moment: datetime) -> int:
        """The number of the day that begins exactly at `moment`.

        Raises:
            ValueError: No day of the grid begins then.
        """
        cell, rest = divmod(moment - self.start, timedelta(hours=1))
        day = int(np.searchsorted(self.day_starts, cell))
        if rest or day >= len(self.day_starts) or self.day_starts[day] != cell:
            raise ValueError(f"{moment.isoformat()} is no midnight of the site within the simulated time.")
        return day
