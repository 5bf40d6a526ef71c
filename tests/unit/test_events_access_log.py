from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.events.access_log import AccessLog, parse_line
from warehouse.events.schema import Row
from warehouse.sites.registry import Site

SITE = Site("blog", "blog", ["example.com", "example.org"], "UTC", "pk_x", datetime(2026, 1, 1, tzinfo=UTC))
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def line(
    request: str = "GET /a HTTP/1.1",
    *,
    address: str = "203.0.113.77",
    user: str = "-",
    at: str = "17/May/2015:10:05:03 +0000",
    status: int = 200,
    rest: str = f' "-" "{FIREFOX}"',
) -> str:
    return f'{address} - {user} [{at}] "{request}" {status} 512{rest}'


def row_of(text: str, log: AccessLog | None = None) -> Row:
    row = (log or AccessLog(SITE, "key")).row(text.encode())
    assert isinstance(row, Row), row
    return row


def test_a_page_request_becomes_a_page_view() -> None:
    row = row_of(line("GET /a%20b?utm_source=x HTTP/2.0", rest=f' "https://www.other.net/p" "{FIREFOX}"'))
    at = datetime(2015, 5, 17, 10, 5, 3, tzinfo=UTC)
    assert (row.event_type, row.source, row.site_id) == ("page_view", "access-log", "blog")
    assert (row.client_created_at, row.arrived_at) == (at, at)
    assert (row.page_url, row.page_host, row.page_path) == (
        "https://example.com/a%20b?utm_source=x",
        "example.com",
        "/a b",
    )
    assert (row.referrer, row.referrer_host, row.utm_source) == ("https://www.other.net/p", "other.net", "x")
    assert (row.device_type, row.browser, row.os, row.is_bot) == ("desktop", "Firefox", "Linux", False)
    assert row_of(line("GET /a?yclid=7 HTTP/2.0")).click_ids == {"yclid": "7"}
    assert (row.ip_address, row.session_id) == ("203.0.113.0/24", None)
    assert row.user_agent == FIREFOX


@pytest.mark.parametrize(
    ("text", "page_url"),
    [
        (line("GET http://example.com/abs HTTP/1.1"), "http://example.com/abs"),
        (line("GET /a b c HTTP/1.1"), "https://example.com/a b c"),
        (line("GET /old"), "https://example.com/old"),
        (line("GET //double HTTP/1.1"), "https://example.com//double"),
        (line(r"GET /say\"hi\" HTTP/1.1"), 'https://example.com/say"hi"'),
        (line(r"GET /\xd0\x96 HTTP/1.1"), "https://example.com/Ж"),
        (f"shop.example.org:80 {line()}", "http://shop.example.org/a"),
        (f"example.org:443 {line(address='2001:db8::1')}", "https://example.org/a"),
        (f"Example.ORG {line()}", "https://example.org/a"),
        (line(user="frank smith"), "https://example.com/a"),
        (line(address="host.provider.net"), "https://example.com/a"),
        (line(address="203.0.113.77, 10.0.0.1"), "https://example.com/a"),
        (line(rest=""), "https://example.com/a"),
        (line(rest=f' "-" "{FIREFOX}" "203.0.113.9" 0.003'), "https://example.com/a"),
        (line(status=304), "https://example.com/a"),
        (line("GET /release-1.2 HTTP/1.1"), "https://example.com/release-1.2"),
        (line("GET /index.html?file=a.png HTTP/1.1"), "https://example.com/index.html?file=a.png"),
    ],
)
def test_all_log_formats_and_unusual_requests_are_read(text: str, page_url: str) -> None:
    assert row_of(text).page_url == page_url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (line("HEAD /a HTTP/1.1"), "not_get"),
        (line("POST /a HTTP/1.1"), "not_get"),
        (line("CONNECT a:443 HTTP/1.1"), "not_get"),
        (line("POST /a HTTP/1.1", status=404), "not_get"),
        (line(status=404), "error_status"),
        (line("GET /a.png HTTP/1.1", status=500), "error_status"),
        (line(status=301), "redirect"),
        (line(status=206), "no_page"),
        (line(status=204), "no_page"),
        (line("GET /a/B.PNG?v=1 HTTP/1.1"), "static_file"),
        (line("GET /robots.txt HTTP/1.1"), "static_file"),
        (line("GET http://proxy.test/ HTTP/1.1"), "other_host"),
        (line("GET http://notexample.com/ HTTP/1.1"), "other_host"),
        (f"other.test:443 {line()}", "other_host"),
        (line("-", status=408), "unreadable"),
        (line(r"\x16\x03\x01\x02", status=400), "unreadable"),
        (line(at="31/Feb/2015:10:00:00 +0000"), "unreadable"),
        (line(at="17/May/2015:24:00:00 +0000"), "unreadable"),
        (line(at="17/May/2015:10:00:00 +9900"), "unreadable"),
        (line(at="01/Jan/0001:00:00:00 +0000"), "unreadable"),
        ('203.0.113.77 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1', "unreadable"),
        ("hello", "unreadable"),
    ],
)
def test_lines_that_are_not_page_views_are_skipped_with_the_reason(text: str, reason: str) -> None:
    assert AccessLog(SITE, "key").row(text.encode()) == reason


def test_times_are_read_with_their_utc_offset() -> None:
    assert row_of(line(at="01/Jan/2026:00:30:00 +0300")).client_created_at == datetime(2025, 12, 31, 21, 30, tzinfo=UTC)
    assert row_of(line(at="31/Dec/2025:23:59:60 -0030")).client_created_at == datetime(2026, 1, 1, 0, 30, tzinfo=UTC)


def test_an_empty_agent_means_bot_but_a_format_without_agents_means_unknown() -> None:
    for agent in ("-", ""):
        silent = row_of(line(rest=f' "-" "{agent}"'))
        assert (silent.is_bot, silent.device_type, silent.user_agent) == (True, "bot", None)
    common = row_of(line(rest=""))
    assert (common.is_bot, common.device_type, common.user_agent) == (False, None, None)


def test_the_agent_of_a_truncated_line_is_read() -> None:
    row = row_of(line(rest=' "-" "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html'))
    assert (row.is_bot, row.browser) == (True, "Googlebot")


def test_a_dash_is_read_as_null() -> None:
    row = row_of(line(address="-"))
    assert (row.user_id, row.ip_address, row.referrer) == (None, None, None)


def test_visitor_ids_depend_on_address_agent_and_hash_key() -> None:
    def visitor(text: str, key: str = "key") -> str:
        user_id = row_of(text, AccessLog(SITE, key)).user_id
        assert user_id is not None
        return user_id

    base = visitor(line())
    assert re.fullmatch("[0-9a-f]{32}", base)
    assert visitor(line("GET /other HTTP/1.1", at="18/May/2015:11:00:00 +0000")) == base
    others = {
        visitor(line(address="203.0.113.78")),
        visitor(line(rest=' "-" "Another/1.0"')),
        visitor(line(), key="another key"),
    }
    assert len(others | {base}) == 4


def test_event_ids_depend_on_the_file_and_the_site_only() -> None:
    texts = [line(), line("GET /b HTTP/1.1"), line(), line()]

    def ids(log: AccessLog) -> list[object]:
        return [row_of(text, log).event_id for text in texts]

    first = ids(AccessLog(SITE, "key"))
    assert len(set(first)) == 4
    assert ids(AccessLog(SITE, "another key")) == first
    other = Site("other", "other", SITE.domains, "UTC", "pk_y", SITE.created_at)
    assert not set(ids(AccessLog(other, "key"))) & set(first)


requests = st.text(max_size=100).map(lambda text: line(f"GET /{text} HTTP/1.1").encode())


@given(st.binary(max_size=300) | requests)
@settings(max_examples=200, deadline=None)
def test_no_line_raises_an_exception(text: bytes) -> None:
    made = AccessLog(SITE, "key").row(text)
    if isinstance(made, Row):
        assert made.page_url is not None
        assert "\x00" not in made.page_url


@pytest.mark.timeout(30)  # a line takes milliseconds, or minutes if the regular expression backtracks
@pytest.mark.parametrize("piece", [" [", '\\"', "a:", "1.", "- ", '"" ', "[17/May/2015:10:05:03 +0000] "])
def test_a_hostile_line_does_not_cause_backtracking(piece: str) -> None:
    assert parse_line("1.1.1.1 - " + piece * 100_000) is None
    assert parse_line('1.1.1.1 - - [17/May/2015:10:05:03 +0000] "' + piece * 100_000) is None
