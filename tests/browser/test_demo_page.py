"""The demo's visit, as the demo run makes it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.browser import visit
from demo.page import serve
from tests.browser.stub_api import StubApi
from warehouse.kit.errors import UserError


def in_a_thread_of_its_own(call: Callable[..., None], *args: str, **options: str) -> None:
    """Playwright's own browser session of this run occupies the main thread."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(call, *args, **options).result()


def test_a_visit_leaves_all_its_events(stub_api: StubApi) -> None:
    with serve("pk_demo", stub_api.url) as url:
        in_a_thread_of_its_own(visit, url)
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


def test_a_missing_browser_is_said_in_one_sentence() -> None:
    with pytest.raises(UserError, match="There is no Chromium at /nowhere/chromium"):
        in_a_thread_of_its_own(visit, "http://127.0.0.1:9/", chromium="/nowhere/chromium")
