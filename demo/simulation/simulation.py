"""One run of the simulated shop: its events in order of arrival, and the true conversion probabilities."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from demo.simulation.behaviour import CHANGED, USUAL, Behaviour, Parameters, new_profile, without_signal
from demo.simulation.browsing import EVENT, Counters, browse, crawl
from demo.simulation.delivery import deliver, deliver_crawls
from demo.simulation.events import Event, Formatter
from demo.simulation.hours import HOUR_MS, HourGrid, midnight
from demo.simulation.identity import Names
from demo.simulation.population import Population, State, Visits
from demo.simulation.shop import device_shares
from demo.simulation.truth import WINDOW_HOURS, chances
from warehouse.kit.progress import Progress

ACTIVE_HOURS = 28 * 24
"""A visitor is active at a cut-off if seen in the 28 days before it."""
_DAYS_BEYOND = WINDOW_HOURS // 24 + 2
_CRAWLS_PER_VISITOR = 0.15


class Simulation:
    """A shop with visitors, simulated day by day. The same arguments always give exactly the same events.

    Args:
        visitors: Number of visitors whose first visit is in the simulated period, without crawlers.
        days: Number of full local days before the day that contains `end`.
        seed: Seed of the random numbers. All other arguments are part of the seed as well.
        timezone: IANA name of the time zone that days, hours and weekdays refer to.
        domain: Host name of the shop's pages.
        end: End of the simulation, timezone-aware: no event is received at or after this time.
        signal: False makes all visitors behave alike, whatever they did before, so that nothing can be predicted.
        change_at: Time of a change of behaviour: visitors follow `behaviour.CHANGED` from the first midnight of the
            site at or after this time.
        usual: Parameters of the behaviour before the change.

    Raises:
        ValueError: `visitors` or `days` is less than 1, a time has no time zone, or the clocks of the time zone change
            by a fraction of an hour.
    """

    def __init__(
        self,
        visitors: int,
        days: int,
        seed: int,
        *,
        timezone: str,
        domain: str,
        end: datetime,
        signal: bool = True,
        change_at: datetime | None = None,
        usual: Parameters = USUAL,
    ) -> None:
        if visitors < 1 or days < 1:
            raise ValueError(f"A simulation needs at least one visitor and one day, not {visitors} and {days}.")
        if end.tzinfo is None or (change_at is not None and change_at.tzinfo is None):
            raise ValueError("`end` and `change_at` must be timezone-aware.")
        self.visitors, self.days, self.end = visitors, days, end.astimezone(UTC)
        zone = ZoneInfo(timezone)
        first_day = self.end.astimezone(zone).date() - timedelta(days=days)
        self.start = midnight(first_day, zone)
        self._grid = HourGrid.over(first_day, days + 1 + _DAYS_BEYOND, zone)
        self._end_ms = round(self.end.timestamp() * 1000)
        run = (
            visitors,
            days,
            seed,
            timezone,
            domain,
            self.end.isoformat(),
            signal,
            change_at and change_at.timestamp(),
            *([usual] if usual != USUAL else []),
        )
        self._names = Names(repr(run))
        self._entropy = self._names.salt("chance")
        self._formatter = Formatter(domain, self._names)
        before, after = (
            Behaviour.of(parameters if signal else without_signal(parameters)) for parameters in (usual, CHANGED)
        )
        starts = [self.start + timedelta(hours=int(cell)) for cell in self._grid.day_starts[:-1]]
        self._behaviour = [after if change_at is not None and start >= change_at else before for start in starts]

    def events(self, progress: Progress | None = None) -> Iterator[Event]:
        """Yield all events in order of `received_at`; at most a few days of events are in memory.

        Args:
            progress: Called with the number of simulated days and the total number of days.
        """
        population = self._population()
        counters = Counters()
        waiting = np.zeros(0, dtype=EVENT)
        for day in range(self.days + 1):
            visits = population.step(day, self._behaviour[day], self._chance(day, "visits"))
            rng = self._chance(day, "pages")
            first_visit = counters.visits
            rows = browse(visits, self._grid, self._names, counters, rng)
            crawls = crawl(
                day,
                _CRAWLS_PER_VISITOR * self.visitors / self.days,
                visitors=self.visitors,
                grid=self._grid,
                counters=counters,
                rng=rng,
            )
            rows = deliver(rows, visits, first_visit, self._grid, self._names)
            waiting = np.concatenate([waiting, rows, deliver_crawls(crawls, self._names)])
            day_over = self._grid.start_ms + int(self._grid.day_starts[day + 1]) * HOUR_MS
            due = waiting["received"] < min(day_over, self._end_ms)
            arrived, waiting = waiting[due], waiting[~due]
            order = np.lexsort((arrived["number"], arrived["at"], arrived["received"]))
            yield from self._formatter.events(arrived[order])
            if progress is not None:
                progress(day + 1, self.days + 1)

    def truth(self, cutoffs: Sequence[datetime]) -> pd.DataFrame:
        """Return the best possible predictions for the visitors seen in the 28 days before each cut-off.

        A visitor is seen if an event of these days was received before the cut-off; the features use the same rule.

        Args:
            cutoffs: Midnights of the site within the simulated period.

        Returns:
            The columns `user_id`, `as_of` (UTC), `p_conversion_7d` and `p_purchase_7d`. The last two are the exact
            probabilities to convert (send a form, sign up or buy) and to buy within 168 hours of the cut-off (see
            `truth`).

        Raises:
            ValueError: A cut-off is not a midnight of the site, or is outside the simulated period.
        """
        wanted = {self._cutoff_day(moment): moment.astimezone(UTC) for moment in cutoffs}
        population = self._population()
        last_seen = np.full(self.visitors, -ACTIVE_HOURS - 1)
        late = _LateVisits()
        tables: dict[tuple[object, ...], NDArray[np.float64]] = {}
        frames: list[pd.DataFrame] = []
        for day in range(max(wanted, default=-1) + 1):
            cell = int(self._grid.day_starts[day])
            late.release(cell, last_seen)
            if day in wanted:
                seen = np.flatnonzero(last_seen >= cell - ACTIVE_HOURS)
                table = tables.setdefault(self._window(day), np.zeros(0))
                if not len(table):
                    table = chances(self._grid, cell, self._behaviour)
                    tables[self._window(day)] = table
                frames.append(self._truth_of(seen, population.state, table, wanted[day]))
            visits = population.step(day, self._behaviour[day], self._chance(day, "visits"))
            late.add(visits, last_seen)
        return pd.concat(frames, ignore_index=True) if frames else _truth_frame([], datetime.now(UTC), np.zeros((2, 0)))

    def midnights(self) -> list[datetime]:
        """Return every midnight of the site within the simulated period, in UTC. Each can be a cut-off."""
        moments = [self.start + timedelta(hours=int(cell)) for cell in self._grid.day_starts]
        return [moment for moment in moments if moment <= self.end]

    def _population(self) -> Population:
        """Draw the device and the time of the first visit of every visitor."""
        rng = self._chance(-1, "arrivals")
        device = np.searchsorted(device_shares().cumsum(), rng.random(self.visitors), side="right").astype(np.int64)
        device = device.clip(max=len(device_shares()) - 1)
        last = self._grid.cell_of(self.end)
        rhythm = self._behaviour[0].hourly(self._grid.weekday[: last + 1], self._grid.local_hour[: last + 1])
        chance = np.tensordot(device_shares(), rhythm, axes=1).cumsum()
        arrival = np.searchsorted(chance, np.sort(rng.random(self.visitors)) * chance[-1], side="right")
        nothing = np.zeros(self.visitors, dtype=np.int64)
        return Population(State(nothing, new_profile(device), nothing.copy()), arrival, self._grid)

    def _chance(self, day: int, purpose: str) -> np.random.Generator:
        """Return the random generator of one day and purpose; generators are independent of each other."""
        salt = self._names.salt(purpose)
        return np.random.default_rng([self._entropy, salt, day + 1])

    def _cutoff_day(self, moment: datetime) -> int:
        if moment.tzinfo is None:
            raise ValueError("Each cut-off must be timezone-aware.")
        if not self.start <= moment <= self.end:
            raise ValueError(f"The cut-off {moment.isoformat()} is outside the simulated period.")
        return self._grid.day_at(moment.astimezone(UTC))

    def _window(self, day: int) -> tuple[object, ...]:
        """Return a cache key: cut-offs with equal local hours and behaviour in their window share one table."""
        cells = slice(int(self._grid.day_starts[day]), int(self._grid.day_starts[day]) + WINDOW_HOURS)
        clock = (self._grid.local_hour[cells].tobytes(), self._grid.weekday[cells].tobytes())
        return (*clock, *(id(behaviour) for behaviour in self._behaviour[day : day + _DAYS_BEYOND]))

    def _truth_of(
        self, seen: NDArray[np.int64], state: State, table: NDArray[np.float64], as_of: datetime
    ) -> pd.DataFrame:
        then = State(state.source[seen], state.profile[seen], state.absence[seen])
        then.pass_midnight()
        at_cutoff = table.reshape(len(table), -1)[:, then.number]
        return _truth_frame(self._names.uuids("user", seen), as_of, at_cutoff)


class _LateVisits:
    """Visits whose events have not arrived yet: a visitor counts as seen only after the events arrive."""

    def __init__(self) -> None:
        self._visits: list[Visits] = []

    def add(self, visits: Visits, last_seen: NDArray[np.int64]) -> None:
        on_time = visits.delay == 0
        np.maximum.at(last_seen, visits.visitor[on_time], visits.cell[on_time])
        self._visits.append(_rows(visits, ~on_time))

    def release(self, cell: int, last_seen: NDArray[np.int64]) -> None:
        if not self._visits:
            return
        late = Visits.joined(self._visits)
        here = late.cell + 1 + late.delay < cell
        np.maximum.at(last_seen, late.visitor[here], late.cell[here])
        self._visits = [_rows(late, ~here)]


def _rows(visits: Visits, mask: NDArray[np.bool_]) -> Visits:
    return Visits(**{name: getattr(visits, name)[mask] for name in Visits.__dataclass_fields__})


def _truth_frame(user_ids: list[str], as_of: datetime, at_cutoff: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": pd.Series(user_ids, dtype="str"),
            "as_of": pd.Series([as_of] * len(user_ids), dtype="datetime64[us, UTC]"),
            "p_conversion_7d": at_cutoff[0],
            "p_purchase_7d": at_cutoff[1],
        }
    )
