"""Actions on a page and queries of its storage, used by the tests."""

from typing import Any

from playwright.sync_api import Page

READY = "Boolean(window.tildaAnalytics && window.tildaAnalytics.extend)"


def open_page(page: Page, url: str, **options: Any) -> None:
    """Open the URL and wait until the collector is ready."""
    page.goto(url, **options)
    page.wait_for_function(READY)


def set_visibility(page: Page, state: str) -> None:
    """Override the page's visibility state, because a tab switch in Playwright does not change it."""
    page.evaluate(
        """state => {
            Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
            Object.defineProperty(document, 'hidden', { value: state === 'hidden', configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        state,
    )


def hide(page: Page) -> None:
    """Hide the page, as a switch to another tab does. The collector then sends its queue."""
    set_visibility(page, "hidden")


def show(page: Page) -> None:
    set_visibility(page, "visible")


def stored(page: Page, area: str = "localStorage") -> dict[str, str]:
    return page.evaluate(f"Object.assign({{}}, {area})")


def queued(page: Page) -> list[str]:
    """Return the localStorage keys of the queued events."""
    return sorted(key for key in stored(page) if key.startswith("analytics_queue:"))


def watch_sending(page: Page) -> list[str]:
    """Return a list to which the URL of each later POST request of the page is appended."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    return sent
