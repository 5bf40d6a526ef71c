"""The automated visit of the demo."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.browser import visit
from demo.page import serve
from tests.browser.stub_api import StubApi
from warehouse.kit.errors import UserError


def run_in_new_thread(call: Callable[..., None], *args: str, **options: str) -> None:
    """Call the function in a new thread, because Playwright already uses the main thread of the test run."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(call, *args, **options).result()


def test_demo_visit_sends_all_its_events(stub_api: StubApi) -> None:
    with serve("pk_demo", stub_api.url) as url:
        run_in_new_thread(visit, url)
    assert {"page_view", "scroll", "click", "form_start", "form_submit", "page_leave"} <= {
        event["event_type"] for event in stub_api.events
    }
    [submit] = stub_api.of_type("form_submit")
    assert submit["payload"]["form"] == {"id": "form104", "name": "Order", "tranid": "1:1"}
    first, thanks = stub_api.of_type("page_view")
    assert thanks["page_url"].endswith("/thanks.html")
    assert thanks["session_id"] == first["session_id"]
    assert {event["user_id"] for event in stub_api.events} == {first["user_id"]}
    assert "visitor@example.com" not in str(stub_api.events)


def test_missing_browser_is_reported_as_a_user_error() -> None:
    with pytest.raises(UserError, match="There is no Chromium at /nowhere/chromium"):
        run_in_new_thread(visit, "http://127.0.0.1:9/", chromium="/nowhere/chromium")
