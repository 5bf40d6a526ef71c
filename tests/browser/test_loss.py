"""Events that a visit could not deliver are delivered by the next visit."""

import pytest
from playwright.sync_api import BrowserContext

from tests.browser import loss
from tests.browser.event_log import RealApi
from tests.browser.site import Site


@pytest.mark.parametrize("visits", [7, pytest.param(504, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_no_event_is_lost_or_duplicated_however_visits_end(
    context: BrowserContext, site: Site, api: RealApi, visits: int
) -> None:
    tally = loss.run(context, site, api, visits=visits, seed=visits)
    print(tally)
    assert tally.recorded.total() > visits
    assert tally.lost == set()
    assert tally.duplicated == set()
