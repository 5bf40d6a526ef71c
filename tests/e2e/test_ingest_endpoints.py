"""The pixel, Tilda's webhook and the collector's files, under default and configured paths."""

import gzip
import re
from urllib.parse import urlencode
from uuid import uuid4

import brotli
import httpx

from tests.ingest_server import IngestServer, page_view
from warehouse.kit.installation import BASE_DIR
from warehouse.sites.registry import set_site


def visitor() -> dict[str, str]:
    return {"X-Forwarded-For": f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"}


def new_site(server: IngestServer) -> str:
    key = uuid4().hex
    server.add_site(key, key)
    return key


def test_endpoint_paths_follow_the_settings(guarded_ingest: IngestServer):
    url, key = guarded_ingest.url, new_site(guarded_ingest)
    assert httpx.post(f"{url}/e?key={key}", json=[page_view()], headers=visitor()).status_code == 202
    assert httpx.post(f"{url}/api/events?key={key}", json=[page_view()]).status_code == 404
    assert httpx.get(f"{url}/assets/c.js").status_code == 200
    assert httpx.get(f"{url}/assets/collector.vitals.js").status_code == 200
    assert httpx.get(f"{url}/assets/c.vitals.js").status_code == 200
    assert httpx.get(f"{url}/collector.js").status_code == 404
    assert httpx.get(f"{url}/p.gif").headers["content-type"] == "image/gif"


def test_collector_is_compressed_and_has_an_etag_for_each_encoding(shared_ingest: IngestServer):
    build = (BASE_DIR / "collector" / "dist" / "collector.base.js").read_bytes()
    url = f"{shared_ingest.url}/collector.js"
    with httpx.Client() as client:
        for accepted, decode in (("gzip, br", brotli.decompress), ("gzip", gzip.decompress), ("br;q=0", bytes)):
            with client.stream("GET", url, headers={"Accept-Encoding": accepted}) as answer:
                assert decode(b"".join(answer.iter_raw())) == build, "without a key, the script has no settings"
                assert "Accept-Encoding" in answer.headers["vary"]
    etags = {}
    for accepted in ("identity", "gzip", "br"):
        etags[accepted] = httpx.get(url, headers={"Accept-Encoding": accepted}).headers["etag"]
        known = {"Accept-Encoding": accepted, "If-None-Match": f"W/{etags[accepted]}"}
        assert httpx.get(url, headers=known).status_code == 304
    assert len(set(etags.values())) == 3, "two encodings are two representations (RFC 9110, 8.8.3.3)"
    other = {"Accept-Encoding": "br", "If-None-Match": etags["gzip"]}
    assert httpx.get(url, headers=other).status_code == 200


def test_modules_are_cached_by_version(shared_ingest: IngestServer):
    url = f"{shared_ingest.url}/collector.vitals.js"
    answer = httpx.get(url)
    version = answer.headers["etag"].strip('"')[:16]
    assert "max-age=3600" in answer.headers["cache-control"]
    assert "max-age=31536000, immutable" in httpx.get(f"{url}?v={version}").headers["cache-control"]
    assert "max-age=3600" in httpx.get(f"{url}?v=older").headers["cache-control"]


def test_collector_contains_the_settings_of_the_site_that_the_key_names(guarded_ingest: IngestServer):
    key, url = new_site(guarded_ingest), f"{guarded_ingest.url}/assets/c.js"
    before = httpx.get(url, params={"key": key})
    assert f'({{"siteKey":"{key}","consent":"tilda",' in before.text
    assert '"path":"/e"' in before.text
    seconds = dict(re.findall(r"(max-age|stale-while-revalidate)=(\d+)", before.headers["cache-control"]))
    assert sum(map(int, seconds.values())) <= 3600, "a change must reach pages within an hour"
    assert before.headers["cross-origin-resource-policy"] == "cross-origin"
    known = {"If-None-Match": before.headers["etag"]}
    unchanged = httpx.get(url, params={"key": key}, headers=known)
    assert (unchanged.status_code, unchanged.content) == (304, b"")

    set_site(guarded_ingest.database_url, key, collector={"consent": "opt-out", "query": "size"})
    assert httpx.get(url, params={"key": "pk_unknown"}).text.rstrip().endswith("({});"), "this reads the sites again"
    changed = httpx.get(url, params={"key": key}, headers=known)
    assert changed.status_code == 200
    assert f'({{"siteKey":"{key}","consent":"opt-out","query":"size",' in changed.text


def test_pixel_records_events_and_always_returns_an_image(guarded_ingest: IngestServer):
    key, url = new_site(guarded_ingest), f"{guarded_ingest.url}/p.gif"
    seen = {"event_id": str(uuid4()), "user_id": "mail-1", "event_type": "email_open"}
    requests = [
        ({"key": key}, {"Referer": "https://shop.example/a?utm_source=mail"}),
        ({"key": key} | seen, {}),
        ({"key": key} | seen, {}),
        ({"key": key}, {"Sec-GPC": "1"}),
        ({"key": key}, {"DNT": "1"}),
        ({"key": "nobody"}, {}),
        ({}, {}),
        ({"key": key, "event_type": "x" * 100}, {}),
    ]
    for query, headers in requests:
        answer = httpx.get(url, params=query, headers=visitor() | headers)
        assert (answer.status_code, answer.headers["content-type"], answer.content[:6]) == (200, "image/gif", b"GIF89a")
        assert "no-store" in answer.headers["cache-control"]
    assert guarded_ingest.rows(
        "select event_type, page_path, utm_source, user_id, source from public.events where site_id = %s order by 1",
        key,
    ) == [("email_open", None, None, "mail-1", "pixel"), ("page_view", "/a", "mail", None, "pixel")]
    assert guarded_ingest.rows("select code from public.rejected_events where site_id = %s", key) == [
        ("invalid_event",)
    ]


def test_pixel_ignores_privacy_signals_if_the_site_does(guarded_ingest: IngestServer):
    key = uuid4().hex
    guarded_ingest.add_site(key, key, collector={"privacy_signals": False})
    httpx.get(f"{guarded_ingest.url}/p.gif", params={"key": key}, headers=visitor() | {"Sec-GPC": "1", "DNT": "1"})
    assert guarded_ingest.rows("select source from public.events where site_id = %s", key) == [("pixel",)]


def test_every_endpoint_reads_click_ids_from_the_page_url(guarded_ingest: IngestServer):
    key, server = new_site(guarded_ingest), guarded_ingest.url
    address = "https://shop.example/a?yclid=77&x=1"
    event = page_view() | {"page_url": address, "payload": {"click_ids": {"gclid": "of the session"}}}
    assert httpx.post(f"{server}/e?key={key}", json=[event], headers=visitor()).status_code == 202
    row = page_view() | {"page_url": address}
    answer = httpx.post(f"{server}/rest/v1/events", json=row, headers=visitor() | {"apikey": key})
    assert answer.status_code == 201
    httpx.get(f"{server}/p.gif", params={"key": key, "page_url": address}, headers=visitor())
    form = urlencode({"tranid": "1:2", "tildaspec-referer": address})
    httpx.post(
        f"{server}/api/webhooks/tilda?key={key}&token=hook-secret",
        content=form,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert guarded_ingest.rows(
        "select source, click_ids from public.events where site_id = %s order by source", key
    ) == [
        ("api", {"gclid": "of the session", "yclid": "77"}),
        ("pixel", {"yclid": "77"}),
        ("supabase", {"yclid": "77"}),
        ("webhook", {"yclid": "77"}),
    ]


def test_webhook_stores_forms_and_orders_once_without_personal_data(guarded_ingest: IngestServer):
    key, url = new_site(guarded_ingest), f"{guarded_ingest.url}/api/webhooks/tilda"

    def call(token: str = "hook-secret", **fields: str) -> httpx.Response:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return httpx.post(f"{url}?key={key}&token={token}", content=urlencode(fields), headers=form)

    assert call(token="no", test="test").status_code == 401
    assert call(token="", test="test").status_code == 401
    ping = call(test="test")
    assert (ping.status_code, ping.text) == (200, "ok")
    assert guarded_ingest.rows("select count(*) from public.events where site_id = %s", key) == [(0,)]

    form = {"Name": "Anna", "Email": "anna@example.com", "tranid": "1:2", "formid": "f1"}
    for _ in range(3):  # Tilda retries a call that it considers unanswered
        assert call(**form, COOKIES="analytics_user_id=visitor-42").text == "ok"
    assert call(**form | {"tranid": "1:3"}, payment='{"orderid":"o-9","amount":"100"}').text == "ok"
    assert call(**form | {"tranid": "1:4"}, **{"form-spec-comments": "buy pills"}).text == "ok"
    assert call(**form | {"tranid": "1:5"}, payment='{"orderid":"o-9"}').text == "ok"
    assert guarded_ingest.rows(
        "select event_type, user_id, payload #>> '{form,tranid}', (payload #>> '{order,amount}')::int, is_bot, source"
        " from public.events where site_id = %s order by 3",
        key,
    ) == [
        ("form_submit", "visitor-42", "1:2", None, False, "webhook"),
        ("purchase", None, "1:3", 100, False, "webhook"),
        ("form_submit", None, "1:4", None, True, "webhook"),
        ("purchase", None, "1:5", None, False, "webhook"),  # an order without an amount
    ]
    assert call(**form | {"tranid": "1:6"}, payment='{"orderid":"o-9","amount":-5}').text == "ok"
    assert guarded_ingest.rows("select code from public.rejected_events where site_id = %s", key) == [
        ("invalid_payload",)
    ]
    without_key = httpx.post(f"{url}?token=hook-secret", data=form)
    assert (without_key.status_code, without_key.json()["code"]) == (401, "missing_key"), (
        "the site key is required because there are several sites"
    )
    everything = guarded_ingest.rows("select events::text from public.events where site_id = %s", key)
    assert "anna" not in str(everything).lower()


def test_webhook_accepts_tildas_json_format(guarded_ingest: IngestServer):
    key, url = new_site(guarded_ingest), f"{guarded_ingest.url}/api/webhooks/tilda"
    products = [{"name": "Tea", "quantity": 2, "amount": 700, "price": "350", "sku": "T-1"}]
    body = {
        "name": "Anna",
        "email": "anna@example.com",
        "qty": 8,
        "payment": {"sys": "tinkoff", "systranid": "9037780797", "orderid": "2085387211", "products": products,
                    "amount": "700"},
        "COOKIES": "analytics_user_id=visitor-42",
        "referer": "https://shop.example/tea",
        "tranid": "1:7",
        "formid": "form107",
        "formname": "Cart",
    }  # fmt: skip
    assert httpx.post(f"{url}?key={key}&token=hook-secret", json={"test": "test"}).text == "ok"
    for _ in range(2):
        assert httpx.post(f"{url}?key={key}&token=hook-secret", json=body).text == "ok"
    [(kind, visitor_id, page, payload)] = guarded_ingest.rows(
        "select event_type, user_id, page_url, payload from public.events where site_id = %s", key
    )
    assert (kind, visitor_id, page) == ("purchase", "visitor-42", "https://shop.example/tea")
    assert payload["order"] == {
        "id": "2085387211",
        "amount": 700,
        "items": [{"id": "T-1", "sku": "T-1", "name": "Tea", "quantity": 2, "amount": 700, "price": 350}],
    }
    assert payload["form"] == {"id": "form107", "name": "Cart", "tranid": "1:7", "fields": ["email", "name", "qty"]}
    for wrong in (b"[]", b"{", b'"text"', b"\xff"):
        json_type = {"Content-Type": "application/json"}
        answer = httpx.post(f"{url}?key={key}&token=hook-secret", content=wrong, headers=json_type)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_form"), wrong


def test_webhook_answers_404_when_no_token_is_configured(shared_ingest: IngestServer):
    answer = httpx.post(f"{shared_ingest.url}/api/webhooks/tilda?token=", data={"test": "test"})
    assert (answer.status_code, answer.json()["code"]) == (404, "webhook_closed")


def test_every_endpoint_is_documented_with_examples(shared_ingest: IngestServer):
    document = httpx.get(f"{shared_ingest.url}/openapi.json").json()
    assert set(document["paths"]) >= {
        "/api/events",
        "/rest/v1/events",
        "/api/pixel.gif",
        "/api/webhooks/tilda",
        "/collector.js",
        "/health",
        "/ready",
    }
    body = document["paths"]["/api/events"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"]["events"][0]["event_type"] == "page_view"
    assert {"202", "400", "401", "403", "413", "415", "429", "503"} <= set(
        document["paths"]["/api/events"]["post"]["responses"]
    )
