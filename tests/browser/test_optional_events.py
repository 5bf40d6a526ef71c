"""Events of the optional modules: tagged elements, errors, missing pages, site search, media and dead clicks."""

import json
import re
from operator import itemgetter
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.actions import hide, open_page
from tests.browser.event_log import Event, RealApi, wait_until
from tests.browser.site import TALL, Site

Sections = dict[str, Any]


def open_with_module(page: Page, url: str, module: str) -> None:
    """Open the page and wait until the module has run."""
    with page.expect_event("requestfinished", lambda request: request.url.endswith(f"collector.{module}.js")):
        open_page(page, url)
    page.wait_for_timeout(100)


def properties(event: Event) -> dict[str, str]:
    return event["payload"].get("custom", {})


@pytest.fixture
def failing_page(context: BrowserContext) -> Page:
    """Open a page whose scripts may throw errors."""
    return context.new_page()


# --- Tagged elements ---

TAGGED = """
<button id="one" data-ta-event="Call" data-ta-prop-color="red" data-ta-prop-size="L">Call</button>
<div class="t-rec ta-event=Book+now ta-plan=pro">
<a id="two" href="#x"><span>Book</span></a><p id="beside">Text</p></div>
<p class="ta-event--Read" id="three">Read</p>
<p id="plain">Nothing</p>
"""


def test_click_on_a_tagged_element_is_a_custom_event(page: Page, site: Site, api: RealApi) -> None:
    open_with_module(page, site.page("/", TAGGED), "tagged")
    for selector in ("#one", "#two span", "#beside", "#three", "#plain"):
        page.click(selector)
    hide(page)
    api.wait_for("page_leave")
    [call] = api.of_type("Call")
    assert properties(call) == {"color": "red", "size": "L"}
    assert call["target_text"] == "Call"
    [book] = api.of_type("Book now")
    assert properties(book) == {"plan": "pro"}
    assert book["target_element"] == "#two"
    assert len(api.of_type("Read")) == 1
    assert api.rejected == []


def test_tagged_form_is_an_event_when_it_is_sent(page: Page, site: Site, api: RealApi) -> None:
    """Tilda prevents `submit` and reports `tildaform:aftersuccess` when its server has taken the form."""
    forms = """
    <form data-ta-event="Plain" onsubmit="return false"><label>Name <input name="a"></label><button>Send</button></form>
    <div class="t-rec ta-event=Tilda"><form class="t-form js-form-proccess" onsubmit="return false">
    <button class="t-submit">Send</button></form></div>
    """
    open_with_module(page, site.page("/", forms), "tagged")
    page.click("label")
    page.click("form >> nth=0 >> button")
    page.click(".t-submit")
    page.evaluate(
        "document.querySelector('.t-form').dispatchEvent(new Event('tildaform:aftersuccess', { bubbles: true }))"
    )
    hide(page)
    api.wait_for("page_leave")
    assert len(api.of_type("Plain")) == 1
    assert len(api.of_type("Tilda")) == 1


def test_label_with_its_field_is_one_event(page: Page, site: Site, api: RealApi) -> None:
    body = '<div data-ta-event="Choice"><label>Yes <input type="checkbox"></label></div>'
    open_with_module(page, site.page("/", body), "tagged")
    page.click("label", position={"x": 5, "y": 5})
    hide(page)
    api.wait_for("page_leave")
    assert len(api.of_type("Choice")) == 1


def test_page_without_tagged_elements_loads_no_module(page: Page, site: Site, api: RealApi) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    open_page(page, site.page("/", "<button>Press</button>"))
    page.wait_for_timeout(1500)
    assert [url for url in requested if re.search(r"collector\.(?!js)", url)] == []


# --- Errors ---

THROWING = """
<script>
  const fail = (number) => { throw new TypeError('No order ' + number + ' for anna@example.com, +7 900 123-45-67'); };
</script>
<button onclick="fail(event.timeStamp | 0)">Fail</button>
"""


def test_errors_are_grouped_and_contain_no_personal_data(failing_page: Page, site: Site, api: RealApi) -> None:
    page = failing_page
    context_errors: list[str] = []
    page.on("pageerror", lambda error: context_errors.append(str(error)))
    open_with_module(page, site.page("/", THROWING, options="data-errors"), "errors")
    for _ in range(3):
        page.click("button")
    page.evaluate("void Promise.reject(new Error('Timeout of 300 ms'))")
    wait_until(lambda: len(context_errors) == 4 or page.wait_for_timeout(20))
    hide(page)
    api.wait_for("page_leave")
    timeout, order = sorted(api.of_type("error"), key=lambda event: event["payload"]["error"]["name"])
    assert order["payload"]["error"] == {"name": "TypeError", "message": "No order # for ***, ***", "source": "/:3"}
    assert timeout["payload"]["error"]["message"] == "Timeout of # ms"
    text = json.dumps(api.events)
    assert "anna@" not in text
    assert "123-45" not in text


def test_at_most_five_groups_of_errors_a_page(failing_page: Page, site: Site, api: RealApi) -> None:
    page = failing_page
    open_with_module(page, site.page("/", options="data-errors"), "errors")
    page.evaluate("for (const name of 'abcdefgh') setTimeout(() => { throw new Error(name); })")
    page.wait_for_timeout(200)
    hide(page)
    api.wait_for("page_leave")
    assert sorted(event["payload"]["error"]["message"] for event in api.of_type("error")) == list("abcde")


def test_errors_that_tell_nothing_are_left_out(page: Page, site: Site, api: RealApi) -> None:
    open_with_module(page, site.page("/", options="data-errors"), "errors")
    page.evaluate(
        """() => {
            dispatchEvent(new ErrorEvent('error', { message: 'Script error.' }));
            const inner = new Error('of an extension');
            inner.stack = 'Error: of an extension at f (chrome-extension://abc/content.js:1:2)';
            dispatchEvent(new ErrorEvent('error', { message: inner.message, error: inner }));
            const image = new Image();
            image.src = '/missing.png?token=secret';
            document.body.append(image);
        }"""
    )
    page.wait_for_timeout(300)
    hide(page)
    api.wait_for("page_leave")
    assert api.of_type("error") == []


# --- Missing pages ---


@pytest.mark.parametrize(
    ("options", "is_missing", "expected"),
    [("data-not-found", False, 1), ('data-not-found="auto"', True, 1), ('data-not-found="auto"', False, 0)],
)
def test_missing_page_is_recorded(
    page: Page, site: Site, api: RealApi, options: str, *, is_missing: bool, expected: int
) -> None:
    if is_missing:
        site.missing.add("/gone")
    open_with_module(page, site.page("/gone", options=options), "notFound")
    hide(page)
    api.wait_for("page_leave")
    found = api.of_type("not_found")
    assert len(found) == expected
    assert all(event["page_path"] == "/gone" for event in found)


# --- Site search ---


def test_site_search_records_the_term_without_personal_data(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/search", '<p data-ta-results="3">Found 3</p>', options='data-search="q,query"')
    open_with_module(page, url + "?page=1&query=Red+shoes+anna@example.com&x=1", "search")
    page.evaluate("history.pushState({}, '', '/search?q=%D1%85%D0%BB%D0%B5%D0%B1')")
    page.click("p")
    hide(page)
    api.wait_for("page_leave")
    searches = [event["payload"]["site_search"] for event in api.of_type("site_search")]
    assert searches == [{"term": "Red shoes ***", "results": 3}, {"term": "хлеб", "results": 3}]


def test_next_page_of_results_is_not_another_search(page: Page, site: Site, api: RealApi) -> None:
    url = site.page("/search", '<a href="/search?q=bread&page=2">2</a>', options="data-search")
    open_with_module(page, url + "?q=bread", "search")
    with page.expect_event("requestfinished", lambda request: request.url.endswith("collector.search.js")):
        page.click("a")
    page.wait_for_timeout(100)
    hide(page)
    api.wait_for("page_view", count=2)
    assert len(api.of_type("site_search")) == 1


# --- Media ---

# The messages that each player sends are those of its documentation, which optional/media.js names.
PLAYERS = {
    "https://www.youtube.com/embed/abc?rel=0": (
        "youtube",
        """addEventListener('message', ({ data }) => {
            if (JSON.parse(data).event !== 'listening' || !/enablejsapi=1/.test(location.search)) return;
            const tell = (message) => parent.postMessage(JSON.stringify(message), '*');
            tell({ event: 'initialDelivery', info: { duration: 100, currentTime: 0, playerState: -1 } });
            tell({ event: 'onStateChange', info: 1 });
            for (let time = 0; time <= 30; time += 5) tell({ event: 'infoDelivery', info: { currentTime: time } });
            tell({ event: 'infoDelivery', info: { currentTime: 89 } });
            tell({ event: 'infoDelivery', info: { currentTime: 91 } });
            tell({ event: 'onStateChange', info: 0 });
        });""",
    ),
    "https://player.vimeo.com/video/76979871?h=1": (
        "vimeo",
        """addEventListener('message', ({ data }) => {
            const { method, value } = JSON.parse(data);
            if (method !== 'addEventListener') return;
            const tell = (message) => parent.postMessage(JSON.stringify(message), '*');
            if (value === 'timeupdate')
                for (let seconds = 0; seconds <= 30; seconds += 5)
                    tell({ event: 'timeupdate', data: { seconds, percent: seconds / 100, duration: 100 } });
            if (value === 'ended') {
                tell({ event: 'timeupdate', data: { seconds: 89, percent: 0.89, duration: 100 } });
                tell({ event: 'timeupdate', data: { seconds: 91, percent: 0.91, duration: 100 } });
                tell({ event: 'ended', data: { seconds: 100, percent: 1, duration: 100 } });
            }
        });""",
    ),
    "https://rutube.ru/play/embed/7163336": (
        "rutube",
        """setTimeout(() => {
            const tell = (message) => parent.postMessage(JSON.stringify(message), '*');
            tell({ type: 'player:durationChange', data: { duration: 100 } });
            tell({ type: 'player:changeState', data: { state: 'playing' } });
            for (let time = 0; time <= 30; time += 5) tell({ type: 'player:currentTime', data: { time } });
            tell({ type: 'player:currentTime', data: { time: 89 } });
            tell({ type: 'player:currentTime', data: { time: 91 } });
            tell({ type: 'player:playComplete' });
        }, 1500);""",
    ),
}


@pytest.mark.parametrize("address", PLAYERS)
def test_progress_of_an_embedded_video(page: Page, site: Site, api: RealApi, address: str) -> None:
    provider, script = PLAYERS[address]
    page.route(
        f"{address.partition('?')[0]}*",
        lambda route: route.fulfill(body=f"<script>{script}</script>", content_type="text/html"),
    )
    open_with_module(page, site.page("/", f'<iframe src="{address}"></iframe>', options="data-media"), "media")
    page.wait_for_timeout(2500)
    hide(page)
    api.wait_for("page_leave")
    media = sorted((event["payload"]["media"] for event in api.of_type("media")), key=itemgetter("percent"))
    # 50 and 75 % were jumped over.
    assert [(one["action"], one["percent"]) for one in media] == [
        ("play", 0),
        ("progress", 25),
        ("progress", 90),
        ("complete", 100),
    ]
    assert {one["provider"] for one in media} == {provider}
    assert {one["url"] for one in media} == {address.partition("?")[0]}
    assert media[-1]["duration"] == 100


def wave(seconds: int) -> bytes:
    """Return a silent recording in WAV format: 8 bits, 8,000 samples a second."""
    size = 8000 * seconds
    header = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    rates = (8000).to_bytes(4, "little") * 2
    return header + b"\1\0\1\0" + rates + b"\1\0\x08\0data" + size.to_bytes(4, "little") + b"\x80" * size


def test_progress_of_a_media_element(page: Page, site: Site, api: RealApi) -> None:
    page.route("**/sound.wav*", lambda route: route.fulfill(body=wave(2), content_type="audio/wav"))
    body = (
        '<audio id="wanted" src="/sound.wav?token=secret"></audio>'
        '<audio id="decoration" src="/sound.wav" muted autoplay loop></audio>'
        '<button onclick="wanted.play()">Play</button>'
    )
    open_with_module(page, site.page("/", body, options="data-media"), "media")
    page.click("button")
    page.wait_for_function("document.querySelector('#wanted').ended")
    hide(page)
    api.wait_for("page_leave")
    media = sorted((event["payload"]["media"] for event in api.of_type("media")), key=itemgetter("percent"))
    assert [(one["action"], one["percent"]) for one in media] == [
        ("play", 0),
        ("progress", 25),
        ("progress", 50),
        ("progress", 75),
        ("progress", 90),
        ("complete", 100),
    ]
    assert {(one["provider"], one["url"], one["duration"]) for one in media} == {("file", site.url("/sound.wav"), 2)}


# --- Dead clicks ---

CLICKABLE = f"""
<button id="dead">Dead</button>
<a id="nowhere" href="#">Nowhere</a>
<div id="pointer" style="cursor: pointer">Looks clickable</div>
<button id="works" onclick="this.nextElementSibling.textContent = 'Done'">Works</button><span></span>
<button id="late" onclick="setTimeout(() => document.body.append('Late'), 600)">Late</button>
<p id="text">Text</p><input id="field"><a id="away" href="/other">Away</a>
<button id="down" onclick="window.scrollTo(0, 500)">Down</button>{TALL}
"""


@pytest.mark.parametrize(
    ("selector", "is_dead"),
    [
        ("#dead", True),
        ("#pointer", True),
        ("#works", False),
        ("#late", False),
        ("#text", False),
        ("#field", False),
        ("#down", False),
    ],
)
def test_click_after_which_nothing_happens_is_dead(
    page: Page, site: Site, api: RealApi, selector: str, *, is_dead: bool
) -> None:
    open_with_module(page, site.page("/", CLICKABLE, options="data-dead-clicks"), "deadClicks")
    page.click(selector)
    page.wait_for_timeout(1200)
    hide(page)
    api.wait_for("page_leave")
    assert [event["target_element"] for event in api.of_type("dead_click")] == [selector] * is_dead
