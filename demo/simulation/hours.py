"""The hours of the simulation, with the local hour, weekday and day of each."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000


def midnight(day: date, timezone: ZoneInfo) -> datetime:
    """Return the start of a local day in UTC; if daylight saving time skips midnight, the first time that exists."""
    return datetime.combine(day, time(), timezone).astimezone(UTC)


@dataclass(frozen=True)
class HourGrid:
    """All hours ("cells") of consecutive local days. Cell c covers [start + c hours, start + c + 1 hours).

    Cells have equal length in UTC; a day on which the clocks change has 23 or 25 cells. `local_hour` gives the local
    time of each cell, so that behaviour follows local time.
    """

    start: datetime
    day_starts: NDArray[np.int64]
    """First cell of each day, followed by the cell after the last day."""
    day_of: NDArray[np.int64]
    local_hour: NDArray[np.int64]
    weekday: NDArray[np.int64]
    """Monday is 0."""

    @classmethod
    def over(cls, first_day: date, days: int, timezone: ZoneInfo) -> "HourGrid":
        """Build the grid of `days` local days from `first_day`.

        Raises:
            ValueError: The clocks change by less than a full hour in this period, as on Lord Howe Island.
        """
        midnights = [midnight(first_day + timedelta(days=n), timezone) for n in range(days + 1)]
        seconds = np.array([(moment - midnights[0]).total_seconds() for moment in midnights])
        if np.any(seconds % 3600):
            raise ValueError(
                f"The clocks of {timezone.key} change by a fraction of an hour; the simulation requires full hours."
            )
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
        """Start of the grid, in milliseconds since 1970."""
        return round(self.start.timestamp() * 1000)

    def cell_of(self, moment: datetime) -> int:
        """Return the cell that contains `moment`; the number may be outside the grid."""
        return int((moment - self.start) // timedelta(hours=1))

    def day_at(self, moment: datetime) -> int:
        """Return the number of the day that starts exactly at `moment`.

        Raises:
            ValueError: No day of the grid starts at `moment`.
        """
        cell, rest = divmod(moment - self.start, timedelta(hours=1))
        day = int(np.searchsorted(self.day_starts, cell))
        if rest or day >= len(self.day_starts) or self.day_starts[day] != cell:
            raise ValueError(f"{moment.isoformat()} is not a midnight of the site within the simulated period.")
        return day
