"""What people and browsers do to a page, in the words of the tests."""

from typing import Any

from playwright.sync_api import Page

READY = "Boolean(window.tildaAnalytics && window.tildaAnalytics.extend)"


def open_page(page: Page, url: str, **options: Any) -> None:
    """Opens the address and waits for the collector."""
    page.goto(url, **options)
    page.wait_for_function(READY)


def set_visibility(page: Page, state: str) -> None:
    """Playwright cannot switch tabs in a way that pages notice, so the page is told so."""
    page.evaluate(
        """state => {
            Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        state,
    )


def hide(page: Page) -> None:
    """Another tab covers the page: what is queued is sent."""
    set_visibility(page, "hidden")


def show(page: Page) -> None:
    set_visibility(page, "visible")


def stored(page: Page, area: str = "localStorage") -> dict[str, str]:
    return page.evaluate(f"Object.assign({{}}, {area})")


def queued(page: Page) -> list[str]:
    """The keys of the events that wait in the queue."""
    return sorted(key for key in stored(page) if key.startswith("analytics_queue:"))


def watch_sending(page: Page) -> list[str]:
    """A list that grows with the address of everything that the page posts."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    return sent
