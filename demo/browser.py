"""Visit the demo page with a real Chromium: scroll, add a product to the cart, submit the form, close the page."""

import shutil
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

from warehouse.kit.errors import UserError

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SYSTEM_CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
NEXT_BATCH_MS: Final = 6_000  # the collector sends within 5 s


def find_chromium(playwright: Playwright, chromium: str | None = None) -> str:
    """Return the path of a Chromium: `chromium` if given, else the system's, else the one that Playwright downloaded.

    Raises:
        UserError: No Chromium was found.
    """
    if chromium is not None:
        if Path(chromium).is_file():
            return chromium
        raise UserError(
            f"There is no Chromium at {chromium}.", "Give another path, or give none to search for Chromium."
        )
    for name in SYSTEM_CHROMIUM:
        if path := shutil.which(name):
            return path
    downloaded = playwright.chromium.executable_path
    if Path(downloaded).is_file():
        return downloaded
    raise UserError(
        "No Chromium was found for the browser visit.",
        "Install the package chromium, or run: .venv/bin/playwright install chromium",
    )


def launch(
    playwright: Playwright,
    chromium: str | None = None,
    *,
    extra_flags: tuple[str, ...] = (),
    without_flags: tuple[str, ...] = (),
) -> Browser:
    """Start a headless Chromium.

    Args:
        playwright: The Playwright instance.
        chromium: Path of the browser; None searches for one.
        extra_flags: Command-line flags in addition to `FLAGS`.
        without_flags: Default flags of Playwright to omit.

    Raises:
        UserError: No Chromium was found, or it does not start.
    """
    path = find_chromium(playwright, chromium)
    try:
        return playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, *extra_flags], ignore_default_args=list(without_flags)
        )
    except Error as error:
        reason = error.message.splitlines()[0]
        raise UserError(
            f"Chromium at {path} does not start: {reason}", "Reinstall Chromium, or give the path of another one."
        ) from error


def visit(url: str, *, chromium: str | None = None) -> None:
    """Visit the demo page as a person would, and close it.

    Returns after the page is closed and its last requests have had time to arrive.

    Args:
        url: URL of the page (`demo.page.serve` yields it).
        chromium: Path of the browser; None searches for one.

    Raises:
        UserError: No Chromium was found, or the page cannot be opened.
    """
    with sync_playwright() as playwright:
        browser = launch(playwright, chromium)
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            _look_around(page, url)
            page.wait_for_timeout(NEXT_BATCH_MS)
            page.close()
            # Wait before closing the browser: closing it would cancel the requests that the page sent while it closed.
            context.new_page().wait_for_timeout(500)
        except Error as error:
            reason = error.message.splitlines()[0]
            raise UserError(
                f"The visit to {url} failed: {reason}", "Check that the demo page is being served."
            ) from error
        finally:
            browser.close()


def _look_around(page: Page, url: str) -> None:
    page.goto(f"{url}?utm_source=newsletter&utm_medium=email&utm_campaign=demo")
    page.wait_for_function("Boolean(window.tildaAnalytics && window.tildaAnalytics.track)")
    for _ in range(3):
        page.mouse.wheel(0, 500)
        page.wait_for_timeout(300)
    page.click("#rec102 .js-product-buy >> nth=0")
    page.fill("#form104 [name=Name]", "A demo visitor")
    page.fill("#form104 [name=Email]", "visitor@example.com")
    page.click("#form104 .t-submit")
    page.wait_for_url("**/thanks.html")
