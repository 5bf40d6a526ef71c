r"""How visitors of the shop behave: an hour-by-hour Markov chain over what an analyst could observe.

State
    Everything that matters about a visitor at the start of an hour, all of it visible in the visitor's events:

    ==========  ======================================================================  ==========================
    symbol      meaning                                                                 values
    ==========  ======================================================================  ==========================
    ``c``       source of the last visit (`demo.shop.SOURCES`)                          9
    ``g``       device                                                                  desktop, phone, tablet
    ``m``       has converted before                                                    no, yes
    ``L``       deepest interest so far: glanced, read a product page, began a form     0, 1, 2
    ``n``       visits since interest was last cold, 4 meaning "4 or more"              0 … 4
    ``k``       days since goods were put into the cart; 7 meaning "no open cart"       0 … 6, 7
    ``r``       days since the last visit, 14 meaning "14 or more"                      0 … 14
    ==========  ======================================================================  ==========================

    Days are calendar days of the site's timezone: ``k`` and ``r`` grow by one at each midnight, and a cart is
    forgotten after its sixth. At ``r`` = 14 interest has gone cold: ``L`` is 0 again, and ``n`` is 1 (which also keeps
    the state visible in features of the last 28 days). ``(g, m, L, n, k)`` is called the *profile* and numbered in
    that order.

The wish to visit
    In the hour ``t`` a visitor comes at most once, with the probability

    .. math:: v_t(s) = 1 - \exp(-\lambda_{g,t} \varphi(s)), \qquad
        \varphi(s) = \rho_r \, \nu_n \, \iota_L \, \kappa_k \, \mu_m \, \chi_c

    where :math:`\varphi` is in visits a day and :math:`\lambda_{g,t}` is the device's rhythm of hours and weekdays
    (`demo.shop.weekly_rhythm`), whose mean over a week is 1/24. Since :math:`\varphi` changes only at midnights and by
    visits, a day can be drawn at once: the first visit after cell ``a`` is the first cell ``h`` with
    :math:`\varphi \sum_{a<t\le h} \lambda_{g,t} \ge E`, where :math:`E \sim \mathrm{Exp}(1)`.

Where a visit comes from
    With probability `stay` from the same source as the last one, else from the mix `return_mix`. A first visit comes
    from `arrival_mix`.

What a visit comes to
    One of six outcomes, by a multinomial logit given the state before the visit and the *new* source ``c'``:

    .. math:: P(o) \propto \exp(b_o + \beta_o \, x + K_{o,k} + I_{o,L}), \qquad
        x = w_{c'} + a_n + d_g + e_m + h_t

    with :math:`h_t` the effect of the local part of the day. Form and purchase convert. After the visit ``r`` is 0,
    ``n`` one more, and

    ===============  ==================================  =========
    outcome          L                                   k
    ===============  ==================================  =========
    glance           stays                               stays
    read             at least 1                          stays
    cart             at least 1                          0
    form begun       2                                   stays
    form sent        1, and m = yes                      no cart
    purchase         1, and m = yes                      no cart
    ===============  ==================================  =========

Chance is all that is left, so the best possible prediction is a number that `demo.truth` computes exactly.

With `USUAL` 3 to 7 % of the visitors of the last 28 days convert within a week, and the best possible prediction tells
them from the others with a ROC-AUC of 0.80 to 0.85. The share grows with the length of a run, as customers gather.

Two variations serve the judging of models: `without_signal`, in which each hour of each visitor has the same chances
whatever happened before (nothing can be predicted), and `CHANGED`, the behaviour after a change of the world.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from demo.shop import DEVICE_NAMES, SOURCES, device_shares, weekly_rhythm

GLANCE, READ, CART, FORM_BEGUN, FORM_SENT, PURCHASE = range(6)
OUTCOME_COUNT: Final = 6
NO_CART: Final = 7
MOST_VISITS: Final = 4
LONGEST_ABSENCE: Final = 14

PROFILE_SHAPE: Final = (len(DEVICE_NAMES), 2, 3, MOST_VISITS + 1, NO_CART + 1)
"""Values of device, customer, depth, visits and cart."""
PROFILE_COUNT: Final = int(np.prod(PROFILE_SHAPE))
ABSENCE_COUNT: Final = LONGEST_ABSENCE + 1
SOURCE_COUNT: Final = len(SOURCES)
STATE_SHAPE: Final = (SOURCE_COUNT, PROFILE_COUNT, ABSENCE_COUNT)

NIGHT, DAYTIME, EVENING = range(3)


def part_of_day(local_hour: NDArray[np.int64]) -> NDArray[np.int64]:
    """NIGHT from 0 to 7 o'clock, EVENING from 18, DAYTIME between."""
    return np.where(local_hour < 7, NIGHT, np.where(local_hour < 18, DAYTIME, EVENING))


@dataclass(frozen=True)
class Parameters:
    """The numbers behind the formulas of this module, by the same letters."""

    # the wish to visit
    rho: tuple[float, ...] = (
        *(0.150, 0.140, 0.125, 0.110, 0.095, 0.082, 0.072, 0.064),
        *(0.056, 0.049, 0.043, 0.038, 0.034, 0.031, 0.028),
    )
    nu: tuple[float, ...] = (1.00, 0.75, 1.00, 1.20, 1.35)
    iota: tuple[float, ...] = (0.70, 1.05, 1.30)
    kappa: tuple[float, ...] = (1.50, 1.50, 1.35, 1.25, 1.15, 1.10, 1.05, 1.00)
    mu: tuple[float, ...] = (1.0, 1.10)
    chi: tuple[float, ...] = (1.10, 0.95, 1.20, 0.60, 1.30, 1.00, 0.95, 0.90, 1.15)

    # where visits come from, by the order of SOURCES
    arrival_mix: tuple[float, ...] = (0.09, 0.19, 0.00, 0.17, 0.03, 0.18, 0.15, 0.09, 0.10)
    return_mix: tuple[float, ...] = (0.13, 0.04, 0.22, 0.02, 0.16, 0.09, 0.05, 0.02, 0.27)
    stay: float = 0.35

    # what a visit comes to: glance, read, cart, form begun, form sent, purchase
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
    """K by outcome and age of the cart."""
    depth_effect: tuple[tuple[float, ...], ...] = (
        (0.0, 0.0, 0.0),
        (0.0, 0.60, 0.60),
        (0.0, 0.60, 0.60),
        (0.0, 0.60, 1.00),
        (0.0, 0.60, 1.50),
        (0.0, 0.60, 0.80),
    )
    """I by outcome and depth."""

    steady_outcomes: tuple[float, ...] | None = None
    """The same chances of the outcomes for everyone, in place of the logit: a world without signal."""


USUAL: Final = Parameters()

CHANGED: Final = replace(
    USUAL,
    # A giveaway brings a crowd that buys nothing, payment on phones has a new step, a competitor keeps people away, and
    # the weekly letter loses what made it worth reading.
    arrival_mix=(0.08, 0.16, 0.00, 0.32, 0.02, 0.14, 0.12, 0.08, 0.08),
    rho=tuple(round(0.85 * rate, 4) for rate in USUAL.rho),
    d=(0.30, -0.90, -0.40),
    w=(0.60, 0.00, 0.70, -1.50, -0.10, 0.25, 0.10, -0.25, 0.40),
)
"""What visitors do after the change (`Simulation(change_at=…)`); conversions fall to about half."""


def without_signal(usual: Parameters) -> Parameters:
    """The same hazard for every visitor at every hour of a kind, whatever they did: nothing can be predicted."""
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


def _after() -> NDArray[np.int64]:
    """The profile that each outcome leads to: shape (outcome, profile)."""
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
    """The profile after a midnight: carts are a day older and forgotten after the sixth day."""
    *others, cart = np.unravel_index(np.arange(PROFILE_COUNT), PROFILE_SHAPE)
    return np.ravel_multi_index((*others, np.minimum(cart + 1, NO_CART)), PROFILE_SHAPE).astype(np.int64)


def _cooled() -> NDArray[np.int64]:
    """The profile of someone who has stayed away for long: a visitor who came once, and may have converted."""
    device, customer, depth, visits, cart = np.unravel_index(np.arange(PROFILE_COUNT), PROFILE_SHAPE)
    cooled = (device, customer, np.zeros_like(depth), np.minimum(visits, 1), cart)
    return np.ravel_multi_index(cooled, PROFILE_SHAPE).astype(np.int64)


AFTER: Final = _after()
COOLED: Final = _cooled()
NEXT_DAY: Final = _next_day()
NEXT_ABSENCE: Final = np.minimum(np.arange(ABSENCE_COUNT) + 1, LONGEST_ABSENCE)


def new_profile(device: NDArray[np.int64]) -> NDArray[np.int64]:
    """The profile of someone who has never been here."""
    nothing = np.zeros_like(device)
    return np.ravel_multi_index((device, nothing, nothing, nothing, nothing + NO_CART), PROFILE_SHAPE)


def device_of(profile: NDArray[np.int64]) -> NDArray[np.int64]:
    """The device in a profile."""
    return profile // (PROFILE_COUNT // PROFILE_SHAPE[0])


def cart_of(profile: NDArray[np.int64]) -> NDArray[np.int64]:
    """The age of the cart in a profile, in days; NO_CART if there is none."""
    return profile % (NO_CART + 1)


@dataclass(frozen=True)
class Behaviour:
    """The formulas of this module as tables, which the simulation and the truth both look up."""

    visit_rate: NDArray[np.float64]
    """Visits a day, by state: shape STATE_SHAPE."""
    outcomes: NDArray[np.float64]
    """Chance of each outcome: shape (part of day, source, profile, outcome)."""
    transition: NDArray[np.float64]
    """Source of the next visit, given that of the last: shape (source, source)."""
    arrivals: NDArray[np.float64]
    """Source of a first visit."""
    rhythm: NDArray[np.float64]
    """Shape (device, weekday, hour)."""

    @classmethod
    def of(cls, parameters: Parameters) -> "Behaviour":
        """Work the tables out."""
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
        """The rhythm of some hours: shape (device, hour given)."""
        return self.rhythm[:, weekday, local_hour]


def _at(values: tuple[float, ...], index: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array(values)[index]
