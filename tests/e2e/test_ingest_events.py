"""The HTTP contract of the events endpoint, tested against the real process and Postgres."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tests.ingest_server import IngestServer, page_view


@pytest.fixture
def api(shared_ingest: IngestServer) -> IngestServer:
    """Return the shared ingest API with a new site."""
    return shared_ingest.with_new_site()


def test_stored_events_have_derived_columns(api: IngestServer):
    event = page_view(created_at=datetime.now(UTC).isoformat(), page_title="Catalogue")
    answer = api.send(event, headers={"User-Agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "duplicates": 0, "rejected": [], "ignored": []})
    row = api.rows(
        "select site_id, event_id::text, page_path, utm_source, browser, host(ip_address), source,"
        " received_at > now() - interval '1 minute' from public.events where site_id = %s",
        api.site_id,
    )
    assert row == [(api.site_id, event["event_id"], "/catalogue", "news", "Chrome", "127.0.0.0", "api", True)]
    assert api.rows("select event_count from public.sessions where site_id = %s", api.site_id) == [(1,)]


def test_visit_and_tab_are_stored_and_a_value_that_is_no_uuid_is_rejected(api: IngestServer):
    visit, tab = str(uuid4()), str(uuid4())
    answer = api.send(
        page_view(visit_id=visit, tab_id=tab.upper()),
        page_view(visit_id=None),
        page_view(tab_id="first tab"),
        page_view(),
    )
    assert (answer.json()["accepted"], answer.json()["ignored"]) == (3, [])
    assert [(one["index"], one["code"], one["detail"]) for one in answer.json()["rejected"]] == [
        (2, "invalid_event", "Invalid UUID - at `$.tab_id`.")
    ]
    query = "select visit_id::text, tab_id::text from public.events where site_id = %s order by 1"
    assert api.rows(query, api.site_id) == [(visit, tab), (None, None), (None, None)]


def test_text_plain_body_with_sent_at_is_accepted(api: IngestServer):
    now = datetime.now(UTC)
    body = json.dumps({"sent_at": now.isoformat(), "events": [page_view()]})
    answer = httpx.post(api.events_url, content=body, headers={"Content-Type": "text/plain;charset=UTF-8"})
    assert answer.json()["accepted"] == 1
    assert api.rows("select sent_at from public.events where site_id = %s", api.site_id) == [(now,)]


def test_invalid_event_does_not_reject_its_batch(api: IngestServer):
    bad_click = page_view(event_type="click", payload={"click": {"x": "left"}})
    answer = api.send(page_view(), bad_click, page_view(), page_view(user_id="a\u0000b"))
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 2
    assert [(r["index"], r["event_id"], r["code"]) for r in answer.json()["rejected"]] == [
        (1, bad_click["event_id"], "invalid_payload"),
        (3, answer.json()["rejected"][1]["event_id"], "invalid_text"),
    ]
    assert api.count() == 2
    query = "select code from public.rejected_events where site_id = %s order by code"
    assert api.rows(query, api.site_id) == [
        ("invalid_payload",),
        ("invalid_text",),
    ]


def test_resent_events_are_counted_as_duplicates_and_stored_once(api: IngestServer):
    events = [
        page_view(created_at=(datetime.now(UTC) - timedelta(days=days)).isoformat()) for days in (0, 20, 34, 36, 4000)
    ] + [page_view()]
    first, again = api.send(*events), api.send(*events, events[0])
    assert (first.json()["accepted"], first.json()["duplicates"]) == (6, 0)
    assert (again.json()["accepted"], again.json()["duplicates"]) == (0, 7)
    assert api.count() == 6


def test_each_response_counts_its_own_events_when_requests_share_a_flush(api: IngestServer):
    shared = [page_view(created_at=datetime.now(UTC).isoformat()) for _ in range(30)]
    with httpx.Client() as client, ThreadPoolExecutor(16) as pool:

        def send(number: int) -> tuple[int, int]:
            own = [page_view() for _ in range(number % 3)]
            batch = [*own, *shared[number % 5 :: 5], *shared[number % 5 :: 5][:1]]
            answer = client.post(api.events_url, json=batch, timeout=60).json()
            assert answer["accepted"] + answer["duplicates"] == len(batch)
            return answer["accepted"], len(own)

        answers = list(pool.map(send, range(160)))
    own = sum(number for _, number in answers)
    assert sum(accepted for accepted, _ in answers) == own + len(shared) == api.count()


def test_event_without_created_at_is_stored_once_by_parallel_senders(api: IngestServer):
    event = page_view(created_at=None)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.send(event).json(), range(24)))
    assert sum(answer["accepted"] for answer in answers) == 1
    assert sum(answer["duplicates"] for answer in answers) == 23
    assert api.count() == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b'"text"', {}, 400, "invalid_batch"),
        (b'{"events": 1}', {}, 400, "invalid_batch"),
        (b"[" * 100_000, {}, 400, "invalid_json"),
        (b"\xff\xfe[]", {}, 400, "invalid_json"),
        (b"[" + b",".join([b"{}"] * 501) + b"]", {}, 413, "too_many_events"),
        (b" " * 1_048_577, {}, 413, "request_too_large"),
        (b"[]", {"Content-Encoding": "br"}, 415, "unsupported_encoding"),
        (b"[]", {"Content-Encoding": "gzip"}, 400, "invalid_gzip"),
        (gzip.compress(b"[]")[:-4], {"Content-Encoding": "gzip"}, 400, "invalid_gzip"),
        (gzip.compress(b" " * 200_000_000), {"Content-Encoding": "gzip"}, 413, "request_too_large"),
        (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unreadable_request_is_refused_with_a_problem_document(
    shared_ingest: IngestServer, body: bytes, headers: dict[str, str], status: int, code: str
):
    answer = httpx.post(shared_ingest.events_url, content=body, headers={"Content-Type": "text/plain"} | headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_chunked_body_above_the_size_limit_is_refused(shared_ingest: IngestServer):
    def chunks():
        for _ in range(40):
            yield b" " * 65_536

    answer = httpx.post(shared_ingest.events_url, content=chunks(), headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


def test_site_key_is_required_and_may_be_a_header(shared_ingest: IngestServer):
    url = f"{shared_ingest.url}/api/events"
    assert httpx.post(url, json=[]).json()["code"] == "missing_key"
    assert httpx.post(f"{url}?key=nobody", json=[]).json()["code"] == "unknown_key"
    assert httpx.post(url, json=[], headers={"apikey": shared_ingest.site_key}).status_code == 202


def test_every_response_allows_the_origin_of_the_page(shared_ingest: IngestServer):
    """A page that cannot read an error response never empties its queue."""
    site = uuid4().hex
    shared_ingest.add_site(site, site, ["shop.example", "магазин.рф"])
    url = f"{shared_ingest.url}/api/events?key={site}"
    for origin in ("https://shop.example", "https://www.shop.example:8443", "https://xn--80aairftm.xn--p1ai"):
        for target, body, status in (
            (url, b"[]", 202),
            (url, b"{", 400),
            (url, b" " * 1_048_577, 413),
            (f"{shared_ingest.url}/api/events?key=x", b"[]", 401),
            (f"{shared_ingest.url}/nothing", b"", 404),
        ):
            answer = httpx.post(target, content=body, headers={"Origin": origin, "Content-Type": "text/plain"})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
            assert "Retry-After" in answer.headers["access-control-expose-headers"]
            assert "Origin" in answer.headers["vary"]


def test_origin_outside_the_site_domains_is_refused(shared_ingest: IngestServer):
    site = uuid4().hex
    shared_ingest.add_site(site, site, ["shop.example"])
    for origin in (
        "https://evil.example",
        "https://shop.example.evil.org",
        "https://evilshop.example",
        "null",
        "https://[",
    ):
        answer = httpx.post(
            f"{shared_ingest.url}/api/events?key={site}", json=[page_view()], headers={"Origin": origin}
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.headers


def test_preflight_allows_the_requested_headers(shared_ingest: IngestServer):
    answer = httpx.options(
        f"{shared_ingest.url}/api/events",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "apikey,content-type,x-client-info",
        },
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-headers"] == "apikey,content-type,x-client-info"
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_health_and_ready_report_a_working_api(shared_ingest: IngestServer):
    assert httpx.get(f"{shared_ingest.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{shared_ingest.url}/ready").json()["ready"] is True


def test_graceful_stop_stores_every_accepted_event(ingest_server: IngestServer):
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ingest_server.send, *(page_view() for _ in range(50))) for _ in range(40)]
        answers[4].result()
        assert ingest_server.stop() == 0
        accepted = 0
        for answer in answers:
            try:
                accepted += answer.result().json()["accepted"]
            except httpx.TransportError:
                continue
    assert accepted == ingest_server.count() > 0
    assert "Traceback" not in ingest_server.log.read_text()
