"""Measures event loss for visits that end at random moments in different ways.

Each visit tracks events ("marks") one by one; a mark is recorded once the `track` call has returned. One second after
the end of a visit, its marks in Postgres count as delivered on the spot. One last visit delivers the remaining queue.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import BrowserContext, Error, Page

from tests.browser.actions import hide, open_page, queued
from tests.browser.event_log import RealApi, wait_until
from tests.browser.site import Site

ON_THE_SPOT_SECONDS = 1.0
MARKS = range(15)  # numbers of marks in a visit, below and above one batch

Mark = tuple[int, int]  # number of the visit, number within it


@dataclass
class Tally:
    """Counts of recorded, delivered, lost and duplicated marks.

    Attributes:
        visits: Number of visits, by ending.
        recorded: Number of recorded marks, by ending.
        on_the_spot: Number of recorded marks that were in Postgres one second after the ending, by ending.
        lost: Marks that were never stored.
        duplicated: Marks that are stored more than once.
    """

    visits: Counter[str] = field(default_factory=Counter[str])
    recorded: Counter[str] = field(default_factory=Counter[str])
    on_the_spot: Counter[str] = field(default_factory=Counter[str])
    lost: set[Mark] = field(default_factory=set[Mark])
    duplicated: set[Mark] = field(default_factory=set[Mark])

    def __str__(self) -> str:
        lines = [f"{'ending':<24}{'visits':>8}{'events':>8}{'on the spot':>14}"]
        for ending in sorted(self.recorded):
            recorded, there = self.recorded[ending], self.on_the_spot[ending]
            lines.append(f"{ending:<24}{self.visits[ending]:>8}{recorded:>8}{there / max(recorded, 1):>14.1%}")
        lines.append(
            f"after the next visit: {len(self.lost)} lost, {len(self.duplicated)} duplicated of {self.recorded.total()}"
        )
        return "\n".join(lines)


def close(page: Page, _api: RealApi) -> None:
    page.close()


def hide_and_close(page: Page, _api: RealApi) -> None:
    hide(page)
    page.close()


def crash(page: Page, _api: RealApi) -> None:
    kill_renderer(page)
    page.close()


def navigate(page: Page, _api: RealApi) -> None:
    page.goto("about:blank")
    page.close()


def follow_a_link(page: Page, _api: RealApi) -> None:
    page.evaluate("location.href = '/next'")
    page.wait_for_url("**/next")
    page.close()


def cut_the_network(page: Page, _api: RealApi) -> None:
    page.context.set_offline(True)
    page.wait_for_timeout(50)
    page.close()
    page.context.set_offline(False)


def kill_the_api(page: Page, api: RealApi) -> None:
    api.server.kill()
    page.wait_for_timeout(50)
    page.close()
    api.server.start()


ENDINGS: tuple[Callable[[Page, RealApi], None], ...] = (
    close, hide_and_close, crash, navigate, follow_a_link, cut_the_network, kill_the_api,
)  # fmt: skip


def kill_renderer(page: Page) -> None:
    """Crash the renderer process of the tab, as when memory runs out."""
    with page.expect_event("crash"):
        page.context.new_cdp_session(page).send("Page.navigate", {"url": "chrome://crash"})


def run(context: BrowserContext, site: Site, api: RealApi, *, visits: int, seed: int) -> Tally:
    """Run the visits and one last visit, and return the counts."""
    chance = random.Random(seed)
    url = site.page("/")
    site.page("/next")
    tally = Tally()
    recorded: set[Mark] = set()
    for visit in range(visits):
        ending = ENDINGS[visit % len(ENDINGS)]
        page = context.new_page()
        open_page(page, url)
        marks = {mark_one(page, visit, number, chance) for number in range(chance.choice(MARKS))}
        try:
            ending(page, api)
        except Error as error:
            raise AssertionError(f"visit {visit}, {ending.__name__}: {error}") from error
        time.sleep(ON_THE_SPOT_SECONDS)
        tally.visits[ending.__name__] += 1
        tally.recorded[ending.__name__] += len(marks)
        tally.on_the_spot[ending.__name__] += len(marks & stored_marks(api).keys())
        recorded |= marks
    return_later(context, url)
    stored = stored_marks(api)
    tally.lost = recorded - stored.keys()
    tally.duplicated = {mark for mark, times in stored.items() if times > 1}
    return tally


def mark_one(page: Page, visit: int, number: int, chance: random.Random) -> Mark:
    """Record one event and sometimes wait up to 100 ms."""
    page.evaluate("([visit, number]) => tildaAnalytics.track('mark', { visit, number })", [visit, number])
    if chance.random() < 0.3:
        page.wait_for_timeout(chance.uniform(0, 100))
    return visit, number


def return_later(context: BrowserContext, url: str) -> None:
    """Open the page again and wait until the queue is empty, including events claimed by a closed tab."""
    page = context.new_page()
    open_page(page, url)
    wait_until(lambda: queued(page) == [], seconds=60)
    page.close()


def stored_marks(api: RealApi) -> Counter[Mark]:
    """Return the number of stored rows of each mark."""
    rows = api.server.rows(
        "select (payload #>> '{custom,visit}')::int, (payload #>> '{custom,number}')::int from public.events"
        " where site_id = %s and event_type = 'mark'",
        api.site_id,
    )
    return Counter((visit, number) for visit, number in rows)
