"""Rate limits, proxies, keys, and requests of an attacker."""

import itertools
import json
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.ingest_server import IngestServer, page_view
from warehouse.kit.database import INGEST_LOGIN, connect, replace_in_url
from warehouse.kit.secret_store import Secrets

_addresses = itertools.count(1)


def visitor() -> dict[str, str]:
    """Return proxy headers with a new visitor address."""
    number = next(_addresses)
    return {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250 + 1}"}


def new_site(server: IngestServer, domains: list[str] | None = None) -> str:
    key = uuid4().hex
    server.add_site(key, key, domains)
    return f"{server.url}/e?key={key}"


def events(count: int) -> list[dict[str, object]]:
    return [page_view() for _ in range(count)]


def test_rate_limit_per_address_answers_429_with_retry_after(guarded_ingest: IngestServer):
    url, headers = new_site(guarded_ingest), visitor() | {"Origin": "https://shop.example"}
    assert httpx.post(url, json=events(15), headers=headers).json()["accepted"] == 15
    before = guarded_ingest.count()
    refused = httpx.post(url, json=events(6), headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited_address")
    assert 0 < int(refused.headers["retry-after"]) <= 600
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
    assert guarded_ingest.count() == before  # no event of a refused request is stored
    assert httpx.post(url, json=events(5), headers=headers).json()["accepted"] == 5
    assert httpx.post(url, json=events(1), headers=headers).status_code == 429
    assert httpx.post(url, json=events(1), headers=visitor()).status_code == 202


def test_invalid_and_empty_requests_count_against_the_rate_limit(guarded_ingest: IngestServer):
    url, headers = new_site(guarded_ingest), visitor()
    answers = [httpx.post(url, content=body, headers=headers).status_code for body in [b"{", b"[]"] * 11]
    assert answers[:20] == [400, 202] * 10
    assert answers[20:] == [429, 429]


def test_first_batch_of_an_address_may_exceed_the_rate_limit(guarded_ingest: IngestServer):
    """Otherwise the collector could never send a full offline queue."""
    assert httpx.post(new_site(guarded_ingest), json=events(25), headers=visitor()).json()["accepted"] == 25


def test_rate_limit_per_site_covers_all_addresses(guarded_ingest: IngestServer):
    url = new_site(guarded_ingest)
    answers = [httpx.post(url, json=events(20), headers=visitor()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[3].json()["code"] == "rate_limited_site"


def test_service_key_skips_rate_limits_and_forwards_the_visitor_address(guarded_ingest: IngestServer, secrets: Secrets):
    url = new_site(guarded_ingest)
    key = {"Authorization": f"Bearer {secrets.service_key}", "User-Agent": "python-httpx/1"}
    session = str(uuid4())
    for _ in range(5):
        batch = [page_view(session_id=session) for _ in range(20)]
        answer = httpx.post(url, json=batch, headers=key | {"X-Forwarded-For": "203.0.113.9"})
        assert answer.json()["accepted"] == 20
    assert guarded_ingest.rows(
        "select distinct host(ip_address), is_bot, user_agent from public.events where session_id = %s", session
    ) == [("203.0.113.0", False, None)]
    wrong = key | visitor() | {"Authorization": f"Bearer {secrets.service_key}x"}
    assert [httpx.post(url, json=events(15), headers=wrong).status_code for _ in range(2)] == [202, 429]


def test_visitor_address_is_the_last_untrusted_forwarded_hop(guarded_ingest: IngestServer):
    url = new_site(guarded_ingest)
    for forwarded, stored in (
        ("6.6.6.6, 203.0.113.7, 10.1.2.3", "203.0.113.0"),  # the visitor can forge the leftmost address
        ("[2001:db8:1:2::3]:443", "2001:db8:1::"),
        ("203.0.113.77:5050", "203.0.113.0"),
        ("unknown, 203.0.114.1", "203.0.114.0"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.0"),
        ("garbage", "127.0.0.0"),
    ):
        session = str(uuid4())
        answer = httpx.post(url, json=[page_view(session_id=session)], headers={"X-Forwarded-For": forwarded})
        assert answer.status_code == 202
        assert guarded_ingest.rows("select host(ip_address) from public.events where session_id = %s", session) == [
            (stored,)
        ]


def test_crawler_events_are_stored_with_is_bot(guarded_ingest: IngestServer):
    session = str(uuid4())
    agent = {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
    answer = httpx.post(new_site(guarded_ingest), json=[page_view(session_id=session)], headers=visitor() | agent)
    assert answer.json()["accepted"] == 1
    assert guarded_ingest.rows("select is_bot from public.events where session_id = %s", session) == [(True,)]


def test_headless_browser_is_a_bot_unless_bot_exceptions_names_it(guarded_ingest: IngestServer):
    url, sessions = new_site(guarded_ingest), [str(uuid4()), str(uuid4())]
    headless = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36"
    )
    for session, agent in zip(sessions, (headless, f"{headless} Shop-Monitor/1"), strict=True):
        httpx.post(url, json=[page_view(session_id=session)], headers=visitor() | {"User-Agent": agent})
    flags = "select is_bot, device_type from public.events where session_id = %s"
    assert [guarded_ingest.rows(flags, session) for session in sessions] == [[(True, "bot")], [(False, "desktop")]]


def test_visitor_cookie_is_set_only_by_a_host_under_the_site_domain(guarded_ingest: IngestServer):
    url = new_site(guarded_ingest, ["shop.example"]) + "&cookie=1"
    origin = {"Origin": "https://www.shop.example"}
    event = page_view(user_id="visitor-12345")
    own = visitor() | origin | {"Host": "data.shop.example"}
    answer = httpx.post(url, json=[event], headers=own)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("analytics_user_id=visitor-12345; Domain=shop.example; Max-Age=31536000; Path=/;")
    assert {"SameSite=Lax", "Secure"} <= set(cookie.split("; "))
    assert answer.headers["access-control-allow-credentials"] == "true"
    again = httpx.post(url, json=[event], headers=own | {"Cookie": "a=b; analytics_user_id=older-visitor"})
    assert again.headers["set-cookie"].startswith("analytics_user_id=older-visitor;")
    assert "set-cookie" not in httpx.post(url, json=[event], headers=own | {"Host": "api.other.example"}).headers
    later = page_view(user_id="visitor-67890")
    renewed = httpx.post(url, json=[event, later], headers=own)
    assert renewed.headers["set-cookie"].startswith("analytics_user_id=visitor-67890;"), "the visitor after a reset"
    hostile = page_view(user_id="x; Domain=evil.example")
    assert "set-cookie" not in httpx.post(url, json=[hostile], headers=own).headers


def test_events_that_postgres_cannot_store_are_rejected_with_a_code(shared_ingest: IngestServer):
    def event(**fields: object) -> str:
        return json.dumps(page_view(**fields))

    deep: object = 1
    for _ in range(100):
        deep = [deep]
    bad = {
        event(page_title="a\u0000b"): "invalid_text",
        event(payload={"a\u0000": 1}): "invalid_text",
        event(created_at="20000-01-01T00:00:00Z"): "invalid_event",
        event(created_at="1066-10-14T00:00:00Z"): "time_out_of_range",
        event(payload={"deep": deep}): "invalid_payload",
        event(payload={"big": "x" * 20_000}): "payload_too_large",
        event(event_type="x" * 65): "invalid_event",
        event(event_id="no uuid"): "invalid_event",
    }
    good = page_view()
    batch = f"[{','.join([*bad, json.dumps(good)])}]".encode()
    answer = httpx.post(shared_ingest.events_url, content=batch, timeout=30).json()
    assert answer["accepted"] == 1, answer
    assert [refusal["code"] for refusal in answer["rejected"]] == list(bad.values())
    for number in ("1e400", "-1e400", "1e-400", "1" * 400, "NaN"):
        text = event().replace('"p1"', number)
        answer = httpx.post(shared_ingest.events_url, content=f"[{text}]", headers={"Content-Type": "text/plain"})
        assert answer.status_code in {202, 400}
    invalid_utf8 = event().encode().replace(b"p1", b"\xff\xfe")
    assert httpx.post(shared_ingest.events_url, content=b"[" + invalid_utf8 + b"]").status_code in {202, 400}
    assert shared_ingest.send(page_view()).json()["accepted"] == 1


def test_logs_contain_no_site_key_and_no_visitor_data(shared_ingest: IngestServer):
    secret = "visitor-who-must-not-be-logged"
    shared_ingest.send(page_view(user_id=secret), {"event_id": secret})
    httpx.post(f"{shared_ingest.url}/api/events?key={secret}", json=[])
    httpx.post(shared_ingest.events_url, content=secret, headers={"User-Agent": secret, "X-Request-Id": "r-1"})
    log = shared_ingest.log.read_text()
    assert secret not in log
    assert shared_ingest.site_key not in log
    for line in log.splitlines():
        assert {"at", "level", "logger", "message"} <= set(json.loads(line))


def test_metrics_count_received_accepted_duplicate_and_rejected_events(shared_ingest: IngestServer):
    before = shared_ingest.metrics()
    event = page_view()
    shared_ingest.send(event, event, {"bad": 1})
    after = shared_ingest.metrics()
    for name, difference in (
        ('tilda_events_received_total{source="api"}', 3),
        ("tilda_events_accepted_total", 1),
        ("tilda_events_duplicate_total", 1),
        ('tilda_events_rejected_total{code="invalid_event"}', 1),
        ("tilda_flush_rows_sum", 3),
    ):
        assert after[name] - before.get(name, 0) == difference


def test_ingest_login_may_call_only_its_functions(shared_ingest: IngestServer, secrets: Secrets):
    shared_ingest.send(page_view())
    url = replace_in_url(shared_ingest.database_url, user=INGEST_LOGIN, password=secrets.ingest_password)
    tables = shared_ingest.rows(
        "select quote_ident(table_schema) || '.' || quote_ident(table_name) from information_schema.tables"
        " where table_schema not in ('pg_catalog', 'information_schema')"
    )
    assert ("public.events",) in tables
    assert any(name.startswith("public.events_20") for (name,) in tables)
    functions = shared_ingest.rows(
        "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname not in ('pg_catalog', 'information_schema')"
        " and has_function_privilege(%s, p.oid, 'execute') and has_schema_privilege(%s, n.oid, 'usage')",
        INGEST_LOGIN,
        INGEST_LOGIN,
    )
    assert {name for (name,) in functions} == {
        "land_events(json)", "land_profiles(text,text,json)", "land_refused_origins(json)", "list_sites()",
        "site_for_key(text)",
    }  # fmt: skip
    with connect(url) as connection:
        for (table,) in tables:
            for statement in (
                f"select * from {table}",
                f"select count(*) from {table}",
                f"delete from {table}",
                f"truncate {table}",
                f"insert into {table} default values",
                f"drop table {table}",
                f"copy {table} to stdout",
            ):
                with pytest.raises(psycopg.Error) as refused:
                    connection.execute(statement)  # pyright: ignore[reportArgumentType]
                # permission denied, or TRUNCATE of a view
                assert refused.value.sqlstate in {"42501", "42809"}, statement
        for statement in (
            "create table public.t (i int)",
            "create schema s",
            "set role postgres",
            "set role analyst",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
