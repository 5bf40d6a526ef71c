"""Hostile requests against the running API: schemathesis on its OpenAPI document, and bodies made by hypothesis.

`python -m bench.hostile --requests 20000` starts a Postgres and the API and prints how many requests were answered and
how. No answer may be a 5xx, none may take longer than ten seconds, and what landed must be readable by the models.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bench.prepared import UNBOUNDED, prepared
from tests.ingest_server import IngestServer, page_view

ANSWER_SECONDS = 10
TYPES = ("page_view", "page_leave", "click", "scroll", "form_submit", "purchase", "identify", "web_vitals", "custom")

_numbers = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([1e308, -0.0, 5e-324]),
)
_texts = st.one_of(
    st.text(max_size=50),
    st.sampled_from(
        ["\x00", "\ud800", "\udfff\ud800", "a" * 5000, "'; drop table events; --", "\u202e", "{{", "%s", "\\u0000"]
    ),
    st.text(st.characters(codec=None), max_size=10),
)
_TIMES = (
    "2026-13-45T99:99:99Z",
    "20000-01-01T00:00:00Z",
    "0000-00-00T00:00:00Z",
    "1969-12-31T23:59:59+23:59",
    "2026-02-29T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2016-12-31T23:59:60Z",
    "0001-01-01T00:00:00+14:00",
    "infinity",
    "now",
)
_times = st.one_of(st.datetimes().map(lambda moment: moment.isoformat() + "Z"), st.sampled_from(_TIMES))
_json: SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)),
    max_leaves=12,
)
_sections = st.fixed_dictionaries(
    {},
    optional={
        "click": st.one_of(_json, st.fixed_dictionaries({"x": _numbers, "y": _numbers})),
        "scroll": st.one_of(_json, st.fixed_dictionaries({"scrollPercent": _numbers})),
        "timing": st.one_of(_json, st.fixed_dictionaries({"timeOnPage": _numbers, "engagedTime": _json})),
        "order": st.one_of(_json, st.fixed_dictionaries({"amount": _numbers, "id": _json, "currency": _json})),
        "form": st.one_of(_json, st.fixed_dictionaries({"id": _json, "name": _json, "tranid": _json})),
        "identity": _json,
        "utm": _json,
        "page_view_id": _json,
        "viewport": _json,
        "device": _json,
        "custom": _json,
    },
)


def _spoilt(fields: dict[str, Any]) -> dict[str, Any]:
    return page_view() | fields


_events = st.fixed_dictionaries(
    {"event_type": st.one_of(st.sampled_from(TYPES), _texts), "payload": st.one_of(_sections, _json)},
    optional={
        "event_id": _json,
        "created_at": st.one_of(_times, _json),
        "session_id": _json,
        "user_id": _json,
        "page_url": st.one_of(_json, _texts.map(lambda text: f"https://[{text}]:99999/?utm_source={text}")),
        "referrer": _json,
        "page_title": _json,
        "target_text": _json,
    },
).map(_spoilt)


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


bodies: SearchStrategy[bytes] = st.one_of(
    st.lists(_events, max_size=6).map(_text),
    st.fixed_dictionaries(
        {"events": st.lists(_events, max_size=3)}, optional={"sent_at": st.one_of(_times, _json)}
    ).map(_text),
    _json.map(_text),
    st.lists(_events, min_size=1, max_size=2)
    .map(_text)
    .flatmap(
        # one byte of a good request changed
        lambda body: st.tuples(st.integers(0, len(body) - 1), st.binary(max_size=3)).map(
            lambda change: body[: change[0]] + change[1] + body[change[0] + 1 :]
        )
    ),
    st.binary(max_size=200),
    st.sampled_from(
        [b"[" * 50_000, b'{"a":' * 50_000, b"[" + b"{}," * 400 + b"{}]", b"\xef\xbb\xbf[]", b'"' + b"\\u0000" * 999]
    ),
)
_header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip)
headers: SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {"Content-Type": st.sampled_from(["text/plain", "application/json", "application/json; charset=utf-8"])},
    optional={"User-Agent": _header_values, "X-Forwarded-For": _header_values, "Cookie": _header_values},
)


def hostile_bodies(server: IngestServer, requests: int, start: int = 0) -> Counter[int]:
    """Send so many hostile bodies. Returns the answers by status.

    Raises:
        AssertionError: An answer was a 5xx, or not one of those that are documented.
        httpx.TimeoutException: One did not come in time.
    """
    answers: Counter[int] = Counter()
    with httpx.Client(timeout=ANSWER_SECONDS) as client:

        @seed(start)
        @settings(
            max_examples=requests,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        )
        @given(bodies, headers)
        def attack(body: bytes, header: dict[str, str]) -> None:
            answer = client.post(server.events_url, content=body, headers=header)
            answers[answer.status_code] += 1
            assert answer.status_code in {202, 400, 413}, (answer.status_code, answer.text, body[:500])
            if answer.status_code == 202:
                said = answer.json()
                assert set(said) == {"accepted", "duplicates", "rejected", "ignored"}

        attack()
    return answers


def schemathesis(server: IngestServer, examples: int, start: int = 1) -> str:
    """Run schemathesis with so many examples an operation. Returns its report.

    Raises:
        AssertionError: It found something.
    """
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json"]
    command += ["--header", f"apikey: {server.site_key}", "--max-examples", str(examples), "--seed", str(start)]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]
    command += ["--max-response-time", str(ANSWER_SECONDS), "--no-color", "--generation-database", "none"]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    assert done.returncode == 0, report[-6000:]
    return report


def answered(server: IngestServer) -> Counter[int]:
    """All answers of the server so far by status, as its metrics count them."""
    found = re.compile(r'tilda_http_answers_total\{status="(\d+)"\}')
    counted = ((found.fullmatch(name), count) for name, count in server.metrics().items())
    return Counter({int(match[1]): int(count) for match, count in counted if match})


def judge_rows(server: IngestServer) -> int:
    """Read every stored row as the models do: no cast of a section and no sum of times may fail. Returns the rows."""
    every_row = """
        select
            created_at at time zone 'Pacific/Auckland',
            received_at - coalesce(sent_at, received_at) + client_created_at,
            payload::text || coalesce(page_path, ''),
            case when event_type = 'scroll' then (payload #>> '{scroll,scrollPercent}')::integer end,
            case when event_type = 'click' then (payload #>> '{click,x}')::double precision end,
            case when event_type = 'purchase' then (payload #>> '{order,amount}')::numeric(20, 4) end,
            case when event_type = 'page_leave' then (payload #>> '{timing,timeOnPage}')::double precision end
        from public.events
    """
    return len(server.rows(every_row))


def main() -> int:
    """Run the campaign and print what was answered."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000, help="at least so many in all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bounds = UNBOUNDED | {"TILDA_WEBHOOK_TOKEN": "hook"}
    with (
        tempfile.TemporaryDirectory(prefix="tilda-hostile-", ignore_cleanup_errors=True) as place,
        prepared(Path(place), 55900, bounds) as (server, _),
    ):
        server.start()
        _campaign(server, options.requests, options.seed)
    return 0


def _campaign(server: IngestServer, requests: int, start: int) -> None:
    print(schemathesis(server, max(50, requests // 60), start).strip().splitlines()[-1])
    missing = requests - sum(answered(server).values())
    hostile_bodies(server, max(1000, missing), start)
    answers = answered(server)
    print(f"{sum(answers.values()):,} requests, answers by status: {dict(sorted(answers.items()))}")
    print(f"{judge_rows(server):,} stored rows read; {server.count():,} events")
    assert not any(status >= 500 for status in answers), "a request was answered with 5xx"


if __name__ == "__main__":
    sys.exit(main())
