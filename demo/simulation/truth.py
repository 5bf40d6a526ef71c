r"""The best possible prediction: the exact P(convert within 168 hours | state at T), by backward induction.

Let ``V_t(s)`` be the probability that a visitor in state ``s`` at the start of cell ``t`` converts before the window
ends. At the end of the window ``V = 0``, and by the formulas of `behaviour`

.. math:: V_t(s) = (1 - v_t(s)) \, V_{t+1}(s) + v_t(s) \sum_{c'} P(c' | c) \sum_o P_t(o | c', \text{profile})
    \begin{cases} 1 & o \text{ converts} \\ V_{t+1}(c', \text{after}_o(\text{profile}), r = 0) & \text{else} \end{cases}

where, if cell ``t`` ends at a midnight, ``V_{t+1}`` is read at the state after that midnight. The result is exact: 168
steps over 97,200 states, without sampling. Two goals are computed at the same time: any conversion, and a purchase (for
which a sent form only changes the state).

The probability is based on the visitor's true state at T, including visits whose events have not arrived yet, and on
future changes of behaviour. A model that sees only received events cannot have more information.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demo.simulation.behaviour import (
    AFTER_RESET,
    AFTER_VISIT,
    FORM_SENT,
    LONGEST_ABSENCE,
    NEXT_ABSENCE,
    NEXT_DAY,
    OUTCOME_COUNT,
    PURCHASE,
    STATE_SHAPE,
    Behaviour,
    device_of,
    part_of_day,
)
from demo.simulation.hours import HourGrid

WINDOW_HOURS = 168
GOALS: tuple[frozenset[int], ...] = (frozenset({FORM_SENT, PURCHASE}), frozenset({PURCHASE}))
"""Outcomes that reach each goal: any conversion, and a purchase."""


def chances(grid: HourGrid, first_cell: int, behaviour_of_day: Sequence[Behaviour]) -> NDArray[np.float64]:
    """Return the probability of each goal within 168 hours of the start of `first_cell`, for every state.

    Args:
        grid: Hours up to the end of the window or later.
        first_cell: The first cell of the window.
        behaviour_of_day: The behaviour on each day of the grid.

    Returns:
        Array of shape (goal, source, profile, absence), with the goals in the order of `GOALS`.
    """
    value = np.zeros((len(GOALS), *STATE_SHAPE))
    device = device_of(np.arange(STATE_SHAPE[1]))
    for cell in range(first_cell + WINDOW_HOURS - 1, first_cell - 1, -1):
        day = int(grid.day_of[cell])
        if cell + 1 == grid.day_starts[day + 1]:
            value = _before_midnight(value)
        behaviour = behaviour_of_day[day]
        hour = slice(cell, cell + 1)
        rhythm = behaviour.hourly(grid.weekday[hour], grid.local_hour[hour])[:, 0]
        part = int(part_of_day(grid.local_hour[hour])[0])
        visits = -np.expm1(-rhythm[device][None, :, None] * behaviour.visit_rate)
        by_visit = _value_of_visit(value[..., 0], behaviour, part)
        value += visits * (by_visit[..., None] - value)
    return value


def _before_midnight(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities by state before a midnight, given those by state after it."""
    before = value[:, :, NEXT_DAY][..., NEXT_ABSENCE]
    is_reset = NEXT_ABSENCE == LONGEST_ABSENCE
    before[..., is_reset] = value[:, :, AFTER_RESET[NEXT_DAY], LONGEST_ABSENCE][..., None]
    return before


def _value_of_visit(back: NDArray[np.float64], behaviour: Behaviour, part: int) -> NDArray[np.float64]:
    """Return the probability of each goal for a visitor who makes a visit in this cell.

    Args:
        back: Probabilities after the visit: shape (goal, source, profile), by state after the visit.
        behaviour: The behaviour in this cell.
        part: The part of the day.

    Returns:
        Probabilities of the same shape, by state before the visit.
    """
    of_new_source = np.zeros_like(back)
    for outcome in range(OUTCOME_COUNT):
        chance = behaviour.outcomes[part, :, :, outcome]
        for number, goal in enumerate(GOALS):
            of_new_source[number] += chance if outcome in goal else chance * back[number][:, AFTER_VISIT[outcome]]
    return np.einsum("cd,gdp->gcp", behaviour.transition, of_new_source, optimize=True)
