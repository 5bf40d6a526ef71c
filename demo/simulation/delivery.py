"""Delivery of events: batches, latency, phones that were offline, wrong clocks, and batches that are sent twice.

A browser sends a batch every five seconds, and sends important events at once. If a phone was offline during a visit
(`Visits.delay`), it sends the visit's events in one batch when it is online again. A wrong clock shifts `created_at`
and `sent_at` equally, so the difference between `sent_at` and `received_at` shows the error.
"""

import numpy as np
from numpy.typing import NDArray

from demo.simulation.behaviour import device_of
from demo.simulation.browsing import KIND
from demo.simulation.hours import HOUR_MS, HourGrid
from demo.simulation.identity import Names, shares
from demo.simulation.population import Visits
from demo.simulation.shop import PHONE

WRONG_CLOCK_SHARE = 0.04
"""Share of phones with a wrong clock, ahead or behind: half of them by 2 to 40 minutes, half by 1 to 5 full hours."""
RESENT_SHARE = 0.007
"""Share of batches that are sent again although the first request arrived."""
_AT_ONCE = np.isin(np.arange(len(KIND)), [KIND[name] for name in ("form_submit", "signup", "purchase", "page_leave")])
_GATHER_MS = 5_000


def deliver(rows: NDArray[np.void], visits: Visits, first_visit: int, grid: HourGrid, names: Names) -> NDArray[np.void]:
    """Fill in the columns `sent`, `received` and `clock`, and append the rows of batches that are sent again.

    Args:
        rows: Events of `visits` (dtype EVENT).
        visits: The visits of one day.
        first_visit: Number of the first visit in `visits`.
        grid: The hours that the visits' cells refer to.
        names: Source of the pseudo-random latencies and clock errors.

    Returns:
        The rows, followed by the duplicates.
    """
    of_visit = rows["visit"] - first_visit
    gathered = (rows["at"] // _GATHER_MS + 1) * _GATHER_MS
    sent = np.where(_AT_ONCE[rows["kind"]], rows["at"] + 20, gathered)
    delay = visits.delay[of_visit]
    back_online = grid.start_ms + (visits.cell[of_visit] + 1) * HOUR_MS + (delay * HOUR_MS).astype(np.int64)
    rows["sent"] = np.where(delay > 0, back_online, sent)
    phone = device_of(visits.profile) == PHONE
    rows["clock"] = np.where(phone, clock_errors(visits.visitor, names), 0)[of_visit]
    return _received(rows, names)


def deliver_crawls(rows: NDArray[np.void], names: Names) -> NDArray[np.void]:
    """Do the same as `deliver` for crawlers, which send each page view at once and have a correct clock."""
    rows["sent"] = rows["at"] + 20
    return _received(rows, names)


def clock_errors(visitors: NDArray[np.int64], names: Names) -> NDArray[np.int64]:
    """Return the clock error of each visitor's phone in ms (negative: behind); 0 for most."""
    trait = names.traits("clock", visitors)
    size = names.traits("clock error", visitors)
    sign = np.where(names.traits("clock sign", visitors) < 0.5, -1, 1)
    minutes = (120_000 + size * 2_280_000).astype(np.int64)
    hours = (1 + (size * 5).astype(np.int64)) * HOUR_MS
    error = sign * np.where(trait < WRONG_CLOCK_SHARE / 2, minutes, hours)
    return np.where(trait < WRONG_CLOCK_SHARE, error, 0)


def _received(rows: NDArray[np.void], names: Names) -> NDArray[np.void]:
    # All events of a batch need the same latency, so derive it from the visit and the time of sending only.
    batch = rows["visit"] * 1_000_003 + rows["sent"] % 1_000_003
    rows["received"] = rows["sent"] + 40 + (shares(batch, names.salt("latency")) ** 3 * 900).astype(np.int64)
    again = rows[shares(batch, names.salt("resent")) < RESENT_SHARE].copy()
    pause = 4_000 + (shares(again["visit"], names.salt("pause")) ** 4 * 1_200_000).astype(np.int64)
    again["sent"] += pause
    again["received"] += pause
    return np.concatenate([rows, again])
