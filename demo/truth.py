r"""The best possible prediction, exactly: P(convert within 168 hours | state at T), by backward induction.

Let ``V_t(s)`` be the chance that someone in state ``s`` at the start of cell ``t`` converts before the window ends. At
its end ``V = 0``, and by the formulas of `demo.behaviour`

.. math:: V_t(s) = (1 - v_t(s)) \, V_{t+1}(s) + v_t(s) \sum_{c'} P(c' | c) \sum_o P_t(o | c', \text{profile})
    \begin{cases} 1 & o \text{ converts} \\ V_{t+1}(c', \text{after}_o(\text{profile}), r = 0) & \text{else} \end{cases}

where a cell that ends at a midnight reads ``V_{t+1}`` at the state that midnight leads to. No sampling and no
approximation: 168 steps over the 97,200 states. Two goals are worked out side by side: any conversion, and a purchase
(for which a form is no end but a change of state).

What this number knows: the visitor's state as it was at T, including visits whose events a phone still held back, and
any change of behaviour that is to come. No model that sees received events can know more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demo.behaviour import (
    AFTER,
    COOLED,
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
from demo.hours import HourGrid

WINDOW_HOURS = 168
GOALS: tuple[frozenset[int], ...] = (frozenset({FORM_SENT, PURCHASE}), frozenset({PURCHASE}))
"""Outcomes that reach each goal: any conversion, and a purchase."""


def chances(grid: HourGrid, first_cell: int, behaviour_of_day: Sequence[Behaviour]) -> NDArray[np.float64]:
    """The chance of each goal within 168 hours of the start of `first_cell`, for every state.

    Args:
        grid: Hours that reach at least to the end of the window.
        first_cell: The first cell of the window.
        behaviour_of_day: What governs each day of the grid.

    Returns:
        Shape (goal, source, profile, absence), the goals being any conversion and a purchase.
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
    """The chances of each state just before a midnight, given those just after it."""
    before = value[:, :, NEXT_DAY][..., NEXT_ABSENCE]
    going_cold = NEXT_ABSENCE == LONGEST_ABSENCE
    before[..., going_cold] = value[:, :, COOLED[NEXT_DAY], LONGEST_ABSENCE][..., None]
    return before


def _value_of_visit(back: NDArray[np.float64], behaviour: Behaviour, part: int) -> NDArray[np.float64]:
    """The chance of each goal for those who visit now, given what it is (`back`) once they have left again.

    Both have the shape (goal, source, profile): of the visit just made in `back`, of the one before it in the result.
    """
    of_new_source = np.zeros_like(back)
    for outcome in range(OUTCOME_COUNT):
        chance = behaviour.outcomes[part, :, :, outcome]
        for number, goal in enumerate(GOALS):
            of_new_source[number] += chance if outcome in goal else chance * back[number][:, AFTER[outcome]]
    return np.einsum("cd,gdp->gcp", behaviour.transition, of_new_source, optimize=True)
