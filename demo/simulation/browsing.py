"""The events of a visit: pages, time on each page, scroll depth, and the resulting rows in NumPy arrays.

The events of a visit determine its outcome: in a glance, no page is scrolled beyond 60 %; in a read, a product page is
scrolled to 75 % or more; carts, forms and purchases have their own event types.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.simulation.behaviour import CART, FORM_BEGUN, FORM_SENT, GLANCE, NO_CART, PURCHASE, cart_of, device_of
from demo.simulation.hours import HOUR_MS, HourGrid
from demo.simulation.identity import Names
from demo.simulation.population import Visits
from demo.simulation.shop import (
    AGENTS,
    CRAWLERS,
    DEVICE_NAMES,
    GLANCED_AT,
    PAGE_AT,
    PAGES,
    PRODUCTS,
    SOURCES,
    agents_of,
)

KINDS = (
    "page_view",
    "scroll",
    "click",
    "add_to_cart",
    "form_start",
    "form_abandon",
    "form_submit",
    "signup",
    "purchase",
    "page_leave",
)
KIND = {name: number for number, name in enumerate(KINDS)}

EVENT = np.dtype(
    [
        ("kind", "u1"),
        ("source", "i1"),
        ("agent", "i2"),  # index into shop.AGENTS; -1 - n for crawler n
        ("page", "i2"),
        ("previous", "i2"),  # previous page of this visit; -1 on the landing page
        ("detail", "i4"),  # percent scrolled, target page of a click, or product
        ("x", "i4"),  # of a click; for page_leave: time on page in tenths of a second
        ("y", "i4"),
        ("visitor", "i8"),
        ("visit", "i8"),
        ("view", "i8"),
        ("number", "i8"),  # of the event; its event ID is derived from it
        ("at", "i8"),  # ms since 1970, true time
        ("sent", "i8"),
        ("received", "i8"),
        ("clock", "i8"),  # ms by which the visitor's clock is ahead
    ]
)

_SCROLL_MARKS = (50, 90)
_SIGNUP_SHARE = 0.15
"""Share of sent forms that subscribe to the newsletter: their event is `signup` instead of `form_submit`."""
_PRODUCT_POPULARITY = np.cumsum(1.0 / np.arange(1, len(PRODUCTS) + 1) ** 0.7)
_DIRECT = len(SOURCES) - 1
_LONGEST_PAGE_MS = 240_000


@dataclass
class Counters:
    """Number of visits, page views, events and crawler visits so far; the next one gets this number."""

    visits: int = 0
    views: int = 0
    events: int = 0
    crawls: int = 0


@dataclass(frozen=True)
class _Views:
    """The page views of a set of visits, one row per page view, in order of visit and time."""

    visit: NDArray[np.int64]
    """Index of the visit."""
    position: NDArray[np.int64]
    is_last: NDArray[np.bool_]
    page: NDArray[np.int64]
    start: NDArray[np.int64]
    stay_ms: NDArray[np.int64]
    reached: NDArray[np.int64]
    """Scroll depth in percent of the page."""


def browse(
    visits: Visits, grid: HourGrid, names: Names, counters: Counters, rng: np.random.Generator
) -> NDArray[np.void]:
    """Return all events of the visits (dtype EVENT), without the columns `sent`, `received` and `clock`."""
    signup = (visits.outcome == FORM_SENT) & (rng.random(len(visits)) < _SIGNUP_SHARE)
    views = _page_views(visits, signup, grid, rng)
    agent = _agents(visits, names)
    last = np.flatnonzero(views.is_last)
    outcome, of_visit = visits.outcome, views.visit
    previous = np.where(views.position == 0, -1, np.concatenate([[-1], views.page[:-1]]))
    following = np.concatenate([views.page[1:], [0]])

    def events(
        kind: str, rows: NDArray[np.int64], when: float | NDArray[np.float64], **columns: NDArray[np.int64]
    ) -> NDArray[np.void]:
        block = np.zeros(len(rows), dtype=EVENT)
        visit = of_visit[rows]
        block["kind"] = KIND[kind]
        block["source"], block["agent"] = visits.source[visit], agent[visit]
        block["page"], block["previous"] = views.page[rows], previous[rows]
        block["visitor"], block["visit"], block["view"] = (
            visits.visitor[visit],
            counters.visits + visit,
            counters.views + rows,
        )
        block["at"] = views.start[rows] + (views.stay_ms[rows] * when).astype(np.int64)
        for name, values in columns.items():
            block[name] = values
        return block

    everywhere = np.arange(len(of_visit))
    blocks = [events("page_view", everywhere, 0.0)]
    for mark in _SCROLL_MARKS:
        rows = np.flatnonzero(views.reached >= mark)
        blocks.append(events("scroll", rows, 0.05 + 0.006 * mark, detail=np.full(len(rows), mark)))
    clicking = np.flatnonzero(~views.is_last & (rng.random(len(of_visit)) < 0.75))
    width = np.array([a.viewport[0] for a in AGENTS])[agent[of_visit[clicking]]]
    height = np.array([page.height for page in PAGES])[views.page[clicking]]
    blocks.append(
        events(
            "click",
            clicking,
            0.97,
            detail=following[clicking],
            x=(width * rng.uniform(0.08, 0.92, len(clicking))).astype(np.int64),
            y=(height * rng.uniform(0.02, 1.0, len(clicking)) * views.reached[clicking] / 100).astype(np.int64),
        )
    )
    last_outcome, last_signup = outcome[of_visit[last]], signup[of_visit[last]]
    carting = last[last_outcome == CART]
    buying = last[last_outcome == PURCHASE]
    filling = buying[cart_of(visits.profile[of_visit[buying]]) == NO_CART] - 1
    forms = last[(last_outcome == FORM_BEGUN) | (last_outcome == FORM_SENT)]
    blocks += [
        events("add_to_cart", carting, 0.9, detail=views.page[carting]),
        events("add_to_cart", filling, 0.9, detail=views.page[filling]),
        events("purchase", buying, 0.9, detail=views.page[buying - 1]),
        events("form_start", forms, 0.45),
        events("form_abandon", last[last_outcome == FORM_BEGUN], 0.99),
        events("form_submit", last[(last_outcome == FORM_SENT) & ~last_signup], 0.9),
        events("signup", last[last_signup], 0.9),
    ]
    leaving = np.flatnonzero(
        rng.random(len(of_visit)) < 0.95
    )  # in the other views, the browser was closed before it could send page_leave
    tenths = views.stay_ms[leaving] // 100
    blocks.append(events("page_leave", leaving, 1.0, detail=views.reached[leaving], x=tenths))

    rows = np.concatenate(blocks)
    rows["number"] = counters.events + np.arange(len(rows))
    counters.visits += len(visits)
    counters.views += len(of_visit)
    counters.events += len(rows)
    return rows


def crawl(
    day: int,
    per_day: float,
    *,
    visitors: int,
    grid: HourGrid,
    counters: Counters,
    rng: np.random.Generator,
) -> NDArray[np.void]:
    """Return the page views of one day's crawlers. Each crawl is a new visitor, numbered from `visitors` upwards."""
    first_cell, after_last = (int(cell) for cell in grid.day_starts[day : day + 2])
    count = int(rng.poisson(per_day))
    pages = np.minimum(rng.geometric(0.25, count), 30)
    crawler = rng.integers(0, len(CRAWLERS), count)
    begin = grid.start_ms + first_cell * HOUR_MS
    length_ms = (after_last - first_cell) * HOUR_MS
    start = begin + (rng.random(count) * (length_ms - 600_000)).astype(np.int64)
    visit = np.repeat(np.arange(count), pages)
    gaps = rng.integers(900, 8_000, len(visit)).cumsum()
    first = np.cumsum(pages) - pages
    rows = np.zeros(len(visit), dtype=EVENT)
    rows["kind"], rows["source"], rows["previous"] = KIND["page_view"], _DIRECT, -1
    rows["agent"] = -1 - crawler[visit]
    rows["page"] = rng.integers(0, len(PAGES), len(visit))
    rows["at"] = start[visit] + gaps - gaps[first[visit]]
    rows["visitor"], rows["visit"] = visitors + counters.crawls + visit, counters.visits + visit
    rows["view"], rows["number"] = counters.views + np.arange(len(rows)), counters.events + np.arange(len(rows))
    counters.crawls += count
    counters.visits += count
    counters.views += len(rows)
    counters.events += len(rows)
    return rows


def _page_views(visits: Visits, signup: NDArray[np.bool_], grid: HourGrid, rng: np.random.Generator) -> _Views:
    glancing = visits.outcome == GLANCE
    more = rng.binomial(2, 0.3, len(visits))
    pages = np.where(glancing, 1 + (rng.random(len(visits)) < 0.35), np.where(visits.outcome < FORM_BEGUN, 3, 4) + more)
    visit = np.repeat(np.arange(len(visits)), pages)
    first = np.cumsum(pages) - pages
    position = np.arange(len(visit)) - first[visit]
    is_last = position == pages[visit] - 1

    landing = np.array([PAGE_AT[source.landing] for source in SOURCES])[visits.source][visit]
    catalogue = PAGE_AT["/catalog"]
    popularity = rng.random(len(visit)) * _PRODUCT_POPULARITY[-1]
    product = np.array(PRODUCTS)[np.searchsorted(_PRODUCT_POPULARITY, popularity, side="right")]
    ending = np.array([0, 0, 0, PAGE_AT["/contacts"], PAGE_AT["/contacts"], PAGE_AT["/cart"]])[visits.outcome]
    ending = np.where(signup, PAGE_AT["/letter"], ending)[visit]
    looked_at = np.array(GLANCED_AT)[rng.integers(0, len(GLANCED_AT), len(visit))]
    page = np.select(
        [position == 0, glancing[visit], is_last & (ending > 0), (position == 1) & (landing != catalogue)],
        [landing, looked_at, ending, np.full(len(visit), catalogue)],
        product,
    )

    median = np.where(glancing, 14_000.0, 38_000.0)[visit]
    stay = np.clip(median * np.exp(0.75 * rng.standard_normal(len(visit))), 2_000, _LONGEST_PAGE_MS).astype(np.int64)
    through = np.cumsum(stay)
    before = through[first] - stay[first]
    length = through[first + pages - 1] - before
    # Place the visit inside its hour, and leave 30 s to send the last events.
    begin = grid.start_ms + visits.cell * HOUR_MS
    begin += (rng.random(len(visits)) * (HOUR_MS - 30_000 - length)).astype(np.int64)
    start = (begin - before)[visit] + through - stay

    lowest, highest = np.where(glancing[visit], 5, 35), np.where(glancing[visit], 61, 101)
    lowest = np.where(page >= PRODUCTS[0], np.where(glancing[visit], lowest, 75), lowest)
    reached = lowest + (rng.random(len(visit)) * (highest - lowest)).astype(np.int64)
    return _Views(visit, position, is_last, page, start, stay, reached)


def _agents(visits: Visits, names: Names) -> NDArray[np.int64]:
    """Return the agent of each visit, which is the same in all visits of a visitor."""
    device, trait = device_of(visits.profile), names.traits("agent", visits.visitor)
    agent = np.zeros(len(visits), dtype=np.int64)
    for kind in range(len(DEVICE_NAMES)):
        numbers, shares = agents_of(kind)
        of_kind = device == kind
        agent[of_kind] = numbers[np.searchsorted(shares, trait[of_kind], side="right").clip(max=len(numbers) - 1)]
    return agent
