"""All visitors of the shop; each step simulates one day of the process in `behaviour`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.simulation.behaviour import (
    AFTER_RESET,
    AFTER_VISIT,
    LONGEST_ABSENCE,
    NEXT_ABSENCE,
    NEXT_DAY,
    STATE_SHAPE,
    Behaviour,
    device_of,
    new_profile,
    part_of_day,
)
from demo.simulation.hours import HourGrid
from demo.simulation.shop import PHONE

LATE_SHARE = 0.03
"""Share of phone visits during which the phone is offline, so that their events are sent later."""
MEDIAN_DELAY_HOURS = 3.0
DELAY_SPREAD = 1.2
LONGEST_DELAY_HOURS = 46.0
"""Less than two days, so that labels are final two days after their period ends."""


@dataclass(frozen=True)
class Visits:
    """The visits of a day, one row per visit."""

    visitor: NDArray[np.int64]
    cell: NDArray[np.int64]
    source: NDArray[np.int64]
    profile: NDArray[np.int64]
    """The profile before the visit."""
    outcome: NDArray[np.int64]
    delay: NDArray[np.float64]
    """Hours from the end of the cell until the phone is online again; 0 if the events were sent during the visit."""

    def __len__(self) -> int:
        return len(self.visitor)

    @classmethod
    def joined(cls, parts: Sequence["Visits"]) -> "Visits":
        """Concatenate sets of visits in the given order."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass
class State:
    """The state of each visitor, one row per visitor."""

    source: NDArray[np.int64]
    profile: NDArray[np.int64]
    absence: NDArray[np.int64]

    @property
    def number(self) -> NDArray[np.int64]:
        """Index of each state in a flattened table of shape STATE_SHAPE."""
        return np.ravel_multi_index((self.source, self.profile, self.absence), STATE_SHAPE)

    def pass_midnight(self) -> None:
        """Advance all visitors by one day."""
        self.profile = NEXT_DAY[self.profile]
        self.absence = NEXT_ABSENCE[self.absence]
        self.profile = np.where(self.absence == LONGEST_ABSENCE, AFTER_RESET[self.profile], self.profile)


class Population:
    """Visitors and their states; `step` draws one day's visits.

    Args:
        state: State of all visitors before the first step. Visitors without a visit come last, in order of arrival.
        arrival_cell: Cell of the first visit of each visitor without a visit, ascending.
        grid: The hours that cells refer to.
    """

    def __init__(self, state: State, arrival_cell: NDArray[np.int64], grid: HourGrid) -> None:
        self.state = state
        self.known_count = len(state.profile) - len(arrival_cell)
        self._arrival_cell = arrival_cell
        self._arrived = 0
        self._grid = grid

    def step(self, day: int, behaviour: Behaviour, rng: np.random.Generator) -> Visits:
        """Simulate one local day, from its first midnight, and return its visits."""
        first, after_last = (int(cell) for cell in self._grid.day_starts[day : day + 2])
        arrived = slice(self.known_count)
        known = State(self.state.source[arrived], self.state.profile[arrived], self.state.absence[arrived])
        known.pass_midnight()
        self.state.profile[arrived], self.state.absence[arrived] = known.profile, known.absence

        cells = slice(first, after_last)
        rhythm = behaviour.hourly(self._grid.weekday[cells], self._grid.local_hour[cells])
        cumulative_rhythm = np.concatenate([np.zeros((len(rhythm), 1)), rhythm.cumsum(axis=1)], axis=1)
        part = part_of_day(self._grid.local_hour[cells])

        everyone = np.arange(self.known_count)
        visitors, hour = self._next_visits(everyone, np.zeros_like(everyone), cumulative_rhythm, behaviour, rng)
        arriving = int(np.searchsorted(self._arrival_cell, after_last)) - self._arrived
        newcomers = np.arange(self.known_count, self.known_count + arriving)
        visitors = np.concatenate([visitors, newcomers])
        hour = np.concatenate([hour, self._arrival_cell[self._arrived : self._arrived + arriving] - first])
        self.known_count += arriving
        self._arrived += arriving

        rounds: list[Visits] = []
        while len(visitors):
            rounds.append(self._visit(visitors, hour + first, part[hour], behaviour, rng))
            visitors, hour = self._next_visits(visitors, hour + 1, cumulative_rhythm, behaviour, rng)
        return Visits.joined(rounds) if rounds else _no_visits()

    def _next_visits(
        self,
        visitors: NDArray[np.int64],
        since: NDArray[np.int64],
        cumulative_rhythm: NDArray[np.float64],
        behaviour: Behaviour,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw the next visit of each visitor within this day.

        Args:
            visitors: Numbers of the visitors.
            since: For each visitor, the first hour of the day in which the visit can be.
            cumulative_rhythm: Cumulative rhythm of the day: shape (device, hour + 1).
            behaviour: The behaviour on this day.
            rng: Source of randomness.

        Returns:
            The visitors who make another visit today, and the hour of each visit.
        """
        state = State(self.state.source[visitors], self.state.profile[visitors], self.state.absence[visitors])
        rate = behaviour.visit_rate.ravel()[state.number]
        device = device_of(state.profile)
        target = cumulative_rhythm[device, since] + rng.standard_exponential(len(visitors)) / rate
        coming = target < cumulative_rhythm[device, -1]
        visitors, device, target = visitors[coming], device[coming], target[coming]
        hour = np.empty(len(visitors), dtype=np.int64)
        for kind in range(len(cumulative_rhythm)):
            of_kind = device == kind
            hour[of_kind] = np.searchsorted(cumulative_rhythm[kind], target[of_kind], side="left") - 1
        return visitors, hour

    def _visit(
        self,
        visitors: NDArray[np.int64],
        cell: NDArray[np.int64],
        part: NDArray[np.int64],
        behaviour: Behaviour,
        rng: np.random.Generator,
    ) -> Visits:
        """Simulate one visit of each visitor in `visitors`: draw source, outcome and delay, and update the state."""
        profile = self.state.profile[visitors]
        first_visit = _is_newcomer(profile)
        sources = np.where(
            first_visit[:, None],
            behaviour.arrivals.cumsum(),
            behaviour.transition.cumsum(axis=1)[self.state.source[visitors]],
        )
        source = _draw_column(sources, rng)
        outcome = _draw_column(behaviour.outcomes[part, source, profile].cumsum(axis=1), rng)
        self.state.source[visitors] = source
        self.state.profile[visitors] = AFTER_VISIT[outcome, profile]
        self.state.absence[visitors] = 0
        late = (rng.random(len(visitors)) < LATE_SHARE) & (device_of(profile) == PHONE)
        hours = MEDIAN_DELAY_HOURS * np.exp(DELAY_SPREAD * rng.standard_normal(len(visitors)))
        delay = np.where(late, np.clip(hours, 0.1, LONGEST_DELAY_HOURS), 0.0)
        return Visits(visitors, cell, source, profile, outcome, delay)


def _is_newcomer(profile: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which visitors have made no visit yet."""
    return profile == new_profile(device_of(profile))


def _draw_column(cumulative: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one column for each row, given the cumulative probabilities of the row."""
    drawn = rng.random(len(cumulative)) * cumulative[:, -1]
    return (cumulative <= drawn[:, None]).sum(axis=1)


def _no_visits() -> Visits:
    none = np.zeros(0, dtype=np.int64)
    return Visits(none, none, none, none, none, np.zeros(0))
