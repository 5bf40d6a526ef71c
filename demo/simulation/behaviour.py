r"""How visitors of the shop behave: an hourly Markov chain over a state that is observable in the events.

State
    The behaviour of a visitor depends only on the state at the start of an hour. The visitor's events show each part:

    ==========  ======================================================================  ==========================
    symbol      meaning                                                                 values
    ==========  ======================================================================  ==========================
    ``c``       source of the last visit (`shop.SOURCES`)                          9
    ``g``       device                                                                  desktop, phone, tablet
    ``m``       has converted before                                                    no, yes
    ``L``       deepest interest so far: glanced, read a product page, started a form   0, 1, 2
    ``n``       visits since the last reset of interest; 4 means "4 or more"            0 … 4
    ``k``       days since the last add to cart; 7 means "no open cart"                 0 … 6, 7
    ``r``       days since the last visit; 14 means "14 or more"                        0 … 14
    ==========  ======================================================================  ==========================

    Days are calendar days in the site's time zone. At each midnight ``k`` and ``r`` grow by one; ``k`` becomes 7, no
    open cart, after day 6. At ``r`` = 14 the interest is reset: ``L`` becomes 0 and ``n`` becomes at most 1, so that
    features over the last 28 days still determine the state. The tuple ``(g, m, L, n, k)`` is called the *profile*;
    profiles are numbered with the last element varying fastest.

Visit rate
    In the hour ``t`` a visitor makes at most one visit, with the probability

    .. math:: v_t(s) = 1 - \exp(-\lambda_{g,t} \varphi(s)), \qquad
        \varphi(s) = \rho_r \, \nu_n \, \iota_L \, \kappa_k \, \mu_m \, \chi_c

    where :math:`\varphi` is in visits per day and :math:`\lambda_{g,t}` is the share of a day's visits that falls into
    this hour and weekday on this device (`shop.weekly_rhythm`); its mean over a week is 1/24. Since
    :math:`\varphi` changes only at midnights and by visits, a complete day can be sampled in one step: the first visit
    after cell ``a`` is in the first cell ``h`` with :math:`\varphi \sum_{a<t\le h} \lambda_{g,t} \ge E`, where
    :math:`E \sim \mathrm{Exp}(1)`.

Source of a visit
    A visit has the same source as the visitor's last visit with probability `stay`; otherwise its source is drawn from
    `return_mix`. The source of a first visit is drawn from `arrival_mix`.

Outcome of a visit
    One of six outcomes, by a multinomial logit given the state before the visit and the *new* source ``c'``:

    .. math:: P(o) \propto \exp(b_o + \beta_o \, x + K_{o,k} + I_{o,L}), \qquad
        x = w_{c'} + a_n + d_g + e_m + h_t

    where :math:`h_t` is the effect of the local part of the day. The last two outcomes, "form sent" and "purchase", are
    conversions. After the visit, ``r`` is 0, ``n`` has grown by one, and ``L``, ``k`` and ``m`` are:

    ===============  ==================================  =========
    outcome          L                                   k
    ===============  ==================================  =========
    glance           unchanged                           unchanged
    read             at least 1                          unchanged
    cart             at least 1                          0
    form begun       2                                   unchanged
    form sent        1, and m = yes                      no cart
    purchase         1, and m = yes                      no cart
    ===============  ==================================  =========

Given the state, everything else is random, so `truth` can compute the best possible prediction exactly.

With the parameters `USUAL`, 3 to 7 % of the visitors of the last 28 days convert within a week, and the best possible
prediction has a ROC-AUC of 0.80 to 0.85. The conversion rate grows with the length of a run, because the share of
returning customers grows.

Two variants exist for evaluating models. In `without_signal`, the past of a visitor has no effect on the future, so
nothing can be predicted. `CHANGED` is a change of behaviour, for tests of drift monitoring.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.simulation.shop import DEVICE_NAMES, SOURCES, device_shares, weekly_rhythm

GLANCE, READ, CART, FORM_BEGUN, FORM_SENT, PURCHASE = range(6)
OUTCOME_COUNT: Final = 6
NO_CART: Final = 7
MOST_VISITS: Final = 4
LONGEST_ABSENCE: Final = 14

PROFILE_SHAPE: Final = (len(DEVICE_NAMES), 2, 3, MOST_VISITS + 1, NO_CART + 1)
"""Number of values of device ``g``, customer ``m``, depth ``L``, visits ``n`` and cart ``k``."""
PROFILE_COUNT: Final = int(np.prod(PROFILE_SHAPE))
ABSENCE_COUNT: Final = LONGEST_ABSENCE + 1
SOURCE_COUNT: Final = len(SOURCES)
STATE_SHAPE: Final = (SOURCE_COUNT, PROFILE_COUNT, ABSENCE_COUNT)

NIGHT, DAYTIME, EVENING = range(3)


def part_of_day(local_hour: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the part of the day of local hours: NIGHT before 7:00, DAYTIME from 7:00, EVENING from 18:00."""
    return np.where(local_hour < 7, NIGHT, np.where(local_hour < 18, DAYTIME, EVENING))


@dataclass(frozen=True)
class Parameters:
    """The parameters of the formulas in the module docstring, with the same letters."""

    # visit rate
    rho: tuple[float, ...] = (
        *(0.150, 0.140, 0.125, 0.110, 0.095, 0.082, 0.072, 0.064),
        *(0.056, 0.049, 0.043, 0.038, 0.034, 0.031, 0.028),
    )
    nu: tuple[float, ...] = (1.00, 0.75, 1.00, 1.20, 1.35)
    iota: tuple[float, ...] = (0.70, 1.05, 1.30)
    kappa: tuple[float, ...] = (1.50, 1.50, 1.35, 1.25, 1.15, 1.10, 1.05, 1.00)
    mu: tuple[float, ...] = (1.0, 1.10)
    chi: tuple[float, ...] = (1.10, 0.95, 1.20, 0.60, 1.30, 1.00, 0.95, 0.90, 1.15)

    # source of a visit, in the order of SOURCES
    arrival_mix: tuple[float, ...] = (0.09, 0.19, 0.00, 0.17, 0.03, 0.18, 0.15, 0.09, 0.10)
    return_mix: tuple[float, ...] = (0.13, 0.04, 0.22, 0.02, 0.16, 0.09, 0.05, 0.02, 0.27)
    stay: float = 0.35

    # outcome of a visit: glance, read, cart, form begun, form sent, purchase
    b: tuple[float, ...] = (0.0, -0.70, -2.45, -3.05, -3.50, -4.10)
    beta: tuple[float, ...] = (0.0, 0.45, 0.75, 0.65, 1.00, 1.05)
    w: tuple[float, ...] = (0.60, 0.00, 0.70, -1.50, 0.90, 0.25, 0.10, -0.25, 0.40)
    a: tuple[float, ...] = (-0.60, 0.00, 0.35, 0.60, 0.75)
    d: tuple[float, ...] = (0.30, -0.25, 0.05)
    e: tuple[float, ...] = (0.0, 0.35)
    h: tuple[float, ...] = (-0.25, 0.00, 0.25)
    cart_effect: tuple[tuple[float, ...], ...] = (
        (0.0,) * 8,
        (0.20, 0.20, 0.15, 0.10, 0.10, 0.05, 0.05, 0.0),
        (0.0,) * 8,
        (0.30, 0.30, 0.20, 0.20, 0.10, 0.10, 0.10, 0.0),
        (0.40, 0.40, 0.30, 0.30, 0.20, 0.20, 0.10, 0.0),
        (2.10, 2.00, 1.80, 1.50, 1.30, 1.10, 0.90, 0.0),
    )
    """``K``, by outcome and days since the add to cart."""
    depth_effect: tuple[tuple[float, ...], ...] = (
        (0.0, 0.0, 0.0),
        (0.0, 0.60, 0.60),
        (0.0, 0.60, 0.60),
        (0.0, 0.60, 1.00),
        (0.0, 0.60, 1.50),
        (0.0, 0.60, 0.80),
    )
    """``I``, by outcome and depth."""

    steady_outcomes: tuple[float, ...] | None = None
    """If set, the probability of each outcome for every visitor, instead of the logit."""


USUAL: Final = Parameters()

CHANGED: Final = replace(
    USUAL,
    # Four changes: a giveaway brings visitors who do not buy (arrival_mix), a competitor lowers the visit rate (rho),
    # payment on phones gets an extra step (d), and visits from the newsletter convert less (w).
    arrival_mix=(0.08, 0.16, 0.00, 0.32, 0.02, 0.14, 0.12, 0.08, 0.08),
    rho=tuple(round(0.85 * rate, 4) for rate in USUAL.rho),
    d=(0.30, -0.90, -0.40),
    w=(0.60, 0.00, 0.70, -1.50, -0.10, 0.25, 0.10, -0.25, 0.40),
)
"""Behaviour after the change (`Simulation(change_at=…)`): the number of conversions falls to about half."""


def without_signal(usual: Parameters) -> Parameters:
    """Return parameters under which visits and outcomes do not depend on the visitor: nothing can be predicted."""
    return replace(
        usual,
        rho=(0.10,) * ABSENCE_COUNT,
        nu=(1.0,) * (MOST_VISITS + 1),
        iota=(1.0,) * 3,
        kappa=(1.0,) * (NO_CART + 1),
        mu=(1.0, 1.0),
        chi=(1.0,) * SOURCE_COUNT,
        steady_outcomes=(0.55, 0.28, 0.06, 0.03, 0.05, 0.03),
    )


def _after_visit() -> NDArray[np.int64]:
    """Return the profile after a visit, by outcome and profile before it: shape (outcome, profile)."""
    device, customer, depth, visits, cart = np.unravel_index(np.arange(PROFILE_COUNT), PROFILE_SHAPE)
    visits = np.minimum(visits + 1, MOST_VISITS)
    yes, one, two = np.ones_like(depth), np.ones_like(depth), np.full_like(depth, 2)
    closed = np.full_like(cart, NO_CART)
    reached = (
        (customer, depth, cart),
        (customer, np.maximum(depth, 1), cart),
        (customer, np.maximum(depth, 1), np.zeros_like(cart)),
        (customer, two, cart),
        (yes, one, closed),
        (yes, one, closed),
    )
    profiles = [np.ravel_multi_index((device, m, depth_, visits, k), PROFILE_SHAPE) for m, depth_, k in reached]
    return np.array(profiles, dtype=np.int64)


def _next_day() -> NDArray[np.int64]:
    """Return the profile after a midnight, by profile before it: the cart is a day older, and dropped after day 6."""
    *others, cart = np.unravel_index(np.arange(PROFILE_COUNT), PROFILE_SHAPE)
    return np.ravel_multi_index((*others, np.minimum(cart + 1, NO_CART)), PROFILE_SHAPE).astype(np.int64)


def _after_reset() -> NDArray[np.int64]:
    """Return the profile after the reset of interest, by profile before it: depth 0, at most one visit."""
    device, customer, depth, visits, cart = np.unravel_index(np.arange(PROFILE_COUNT), PROFILE_SHAPE)
    reset = (device, customer, np.zeros_like(depth), np.minimum(visits, 1), cart)
    return np.ravel_multi_index(reset, PROFILE_SHAPE).astype(np.int64)


AFTER_VISIT: Final = _after_visit()
AFTER_RESET: Final = _after_reset()
NEXT_DAY: Final = _next_day()
NEXT_ABSENCE: Final = np.minimum(np.arange(ABSENCE_COUNT) + 1, LONGEST_ABSENCE)


def new_profile(device: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the profile of a visitor before the first visit, for each device number."""
    nothing = np.zeros_like(device)
    return np.ravel_multi_index((device, nothing, nothing, nothing, nothing + NO_CART), PROFILE_SHAPE)


def device_of(profile: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the device number of each profile."""
    return profile // (PROFILE_COUNT // PROFILE_SHAPE[0])


def cart_of(profile: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the age of the cart in days for each profile, or NO_CART."""
    return profile % (NO_CART + 1)


@dataclass(frozen=True)
class Behaviour:
    """Lookup tables for the formulas of this module; the simulation and `truth` share them."""

    visit_rate: NDArray[np.float64]
    """Visits per day by state: shape STATE_SHAPE."""
    outcomes: NDArray[np.float64]
    """Probability of each outcome: shape (part of day, source, profile, outcome)."""
    transition: NDArray[np.float64]
    """Probability of the source of the next visit, given the source of the last visit: shape (last, next)."""
    arrivals: NDArray[np.float64]
    """Probability of each source for a first visit: shape (source,)."""
    rhythm: NDArray[np.float64]
    """Share of a day's visits, by local time: shape (device, weekday, hour)."""

    @classmethod
    def of(cls, parameters: Parameters) -> "Behaviour":
        """Compute the tables from parameters."""
        p = parameters
        g, m, depth, n, k = np.unravel_index(np.arange(PROFILE_COUNT), PROFILE_SHAPE)
        of_profile = _at(p.nu, n) * _at(p.iota, depth) * _at(p.kappa, k) * _at(p.mu, m)
        visit_rate = np.array(p.chi)[:, None, None] * of_profile[None, :, None] * np.array(p.rho)[None, None, :]
        rhythm = weekly_rhythm()
        if p.steady_outcomes is not None:
            outcomes = np.broadcast_to(np.array(p.steady_outcomes), (3, SOURCE_COUNT, PROFILE_COUNT, OUTCOME_COUNT))
            rhythm = np.broadcast_to(np.tensordot(device_shares(), rhythm, axes=1), rhythm.shape)
        else:
            of_person = _at(p.a, n) + _at(p.d, g) + _at(p.e, m)
            x = np.array(p.h)[:, None, None] + np.array(p.w)[None, :, None] + of_person[None, None, :]
            extra = np.array(p.cart_effect)[:, k] + np.array(p.depth_effect)[:, depth]
            weight = np.exp(np.array(p.b) + x[..., None] * np.array(p.beta) + extra.T)
            outcomes = weight / weight.sum(axis=-1, keepdims=True)
        mix = np.broadcast_to(np.array(p.return_mix), (SOURCE_COUNT, SOURCE_COUNT))
        return cls(
            visit_rate=visit_rate,
            outcomes=outcomes,
            transition=p.stay * np.eye(SOURCE_COUNT) + (1.0 - p.stay) * mix,
            arrivals=np.array(p.arrival_mix),
            rhythm=rhythm,
        )

    def hourly(self, weekday: NDArray[np.int64], local_hour: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the rhythm of the given hours: shape (device, number of hours)."""
        return self.rhythm[:, weekday, local_hour]


def _at(values: tuple[float, ...], index: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array(values)[index]
