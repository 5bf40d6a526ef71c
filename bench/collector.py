"""Measure the collector's main-thread time in Chromium, at normal CPU speed and with a 4x slowdown.

    .venv/bin/python -m bench.collector

The script prints the time to evaluate the collector and the slowest call of each kind of handler. Times are thread time
in milliseconds, so that other processes have little effect, and include layout that a handler forces. The page has
5,000 elements, so that a forced layout is expensive.
"""

import json
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from demo.browser import launch
from warehouse.kit.installation import BASE_DIR

SLOWDOWNS: Final = (1, 4)
SCRIPT: Final = BASE_DIR / "collector" / "dist" / "collector.shop.js"
ADDRESS: Final = "http://shop.localhost/"
API: Final = "http://api.localhost"
BLOCK: Final = '<div class="t-rec"><p>Bread <a href="#x">now</a></p><form><input name="a"></form></div>'
HTML: Final = (
    "<!doctype html><title>Bench</title>"
    f'<script async src="{API}/collector.js" data-site-key="pk" data-consent="opt-out" data-localhost>'
    "</script>" + BLOCK * 1000
)
CATEGORIES: Final = ["devtools.timeline", "disabled-by-default-devtools.timeline"]

Trace = list[dict[str, Any]]


def record(browser: Browser, slowdown: int) -> Trace:
    """Record the trace of a visit that triggers every kind of handler, with the CPU slowed down by `slowdown`."""
    page = browser.new_page()
    page.route(ADDRESS, lambda route: route.fulfill(body=HTML, content_type="text/html"))
    page.route(f"{API}/collector.js", lambda route: route.fulfill(path=SCRIPT, content_type="text/javascript"))
    page.route(f"{API}/api/events*", lambda route: route.fulfill(status=202, body="{}", headers=_CORS))
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    browser.start_tracing(page=page, categories=CATEGORIES)
    page.goto(ADDRESS)
    page.wait_for_function("Boolean(window.tildaAnalytics && window.tildaAnalytics.extend)")
    _use(page)
    return json.loads(browser.stop_tracing())["traceEvents"]


_CORS: Final = {"Access-Control-Allow-Origin": "*"}


def _use(page: Page) -> None:
    for number in range(10):
        page.mouse.move(50 + number, 50)
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(300)
        page.mouse.click(60, 60 + number * 10)
    page.evaluate("document.querySelector('input').scrollIntoView()")
    page.locator("input").first.type("rye")
    page.evaluate("history.pushState({}, '', '/next')")
    page.wait_for_timeout(6_000)
    page.goto("about:blank")


def costs(trace: Trace) -> dict[str, float]:
    """Return the longest thread time of each kind of work that the collector does, in milliseconds."""
    dispatches = [event for event in trace if event["name"] == "EventDispatch" and "dur" in event]
    worst: dict[str, float] = {}
    for event in trace:
        data = event.get("args", {}).get("data", {})
        if "tdur" not in event or "collector.js" not in data.get("url", ""):
            continue
        if event["name"] == "EvaluateScript":
            kind = "evaluation"
        elif event["name"] == "FunctionCall":
            kind = _enclosing(event, dispatches)
        else:
            continue
        worst[kind] = max(worst.get(kind, 0.0), event["tdur"] / 1000)
    return worst


def _enclosing(call: dict[str, Any], dispatches: Trace) -> str:
    """Return the DOM event type whose dispatch contains the call, or "timers and responses" if there is none."""
    for dispatch in dispatches:
        same_thread = (dispatch["pid"], dispatch["tid"]) == (call["pid"], call["tid"])
        if same_thread and dispatch["ts"] <= call["ts"] <= dispatch["ts"] + dispatch["dur"]:
            return f"on {dispatch['args']['data']['type']}"
    return "timers and responses"


def main() -> None:
    """Measure and print the results."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        worst = [costs(record(browser, slowdown)) for slowdown in SLOWDOWNS]
        browser.close()
    print(f"{'slowest call, ms':<18}" + "".join(f"{slowdown:>13}x" for slowdown in SLOWDOWNS))
    for kind in sorted(worst[-1], key=worst[-1].__getitem__, reverse=True):
        print(f"{kind:<18}" + "".join(f"{figures.get(kind, 0.0):14.1f}" for figures in worst))


if __name__ == "__main__":
    main()
