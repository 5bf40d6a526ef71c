"""Count the requests and bytes that the collector sends during a typical visit of three pages.

    .venv/bin/python -m bench.visit [folder with another build of the collector]

The visitor opens two pages for 8 seconds each, scrolls both and clicks once on each, then fills and sends a form on the
third page and closes it. The API is a stub on this machine, so every request is answered at once.
"""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from demo.browser import launch
from tests.browser import stub_api
from tests.browser.site import TALL, Site

OPTIONS = 'data-consent="opt-out"'


def visit(page: Page, site: Site) -> None:
    """Make the visit and wait until its last request has arrived."""
    link = '<a class="next" href="{}">next</a><button>More</button>'
    site.page("/product", link.format("/order") + TALL, options=OPTIONS)
    site.page(
        "/order", '<form onsubmit="return false"><input name="city"><button>Send</button></form>', options=OPTIONS
    )
    page.goto(site.page("/", link.format("/product") + TALL, options=OPTIONS) + "?utm_source=vk&utm_medium=cpc")
    for _ in range(2):
        page.wait_for_timeout(1_500)
        for _ in range(4):
            page.mouse.wheel(0, 900)
            page.wait_for_timeout(500)
        page.evaluate("scrollTo(0, 0)")
        page.click("button")
        page.wait_for_timeout(4_500)
        page.click(".next")
        page.wait_for_load_state()
    page.wait_for_timeout(1_500)
    page.fill("input", "Kazan")
    page.click("button")
    page.wait_for_timeout(1_500)
    page.goto("about:blank")
    page.wait_for_timeout(1_500)


def main(arguments: Sequence[str]) -> None:
    """Make a visit and print the counts."""
    if arguments:
        stub_api.DIST = Path(arguments[0])
    api = stub_api.StubApi()
    with sync_playwright() as playwright, closing(Site(api)) as site:
        browser = launch(playwright)
        visit(browser.new_page(), site)
        browser.close()
    api.stop()
    requests = list(api.requests)
    sent = [event["event_id"] for request in requests for event in request.events]
    print(f"{len(requests)} requests, {sum(request.size for request in requests):,} bytes")
    print(f"{len(set(sent))} events, of which {len(sent) - len(set(sent))} were sent again by the next page")


if __name__ == "__main__":
    main(sys.argv[1:])
