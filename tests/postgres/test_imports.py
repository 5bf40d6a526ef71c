"""Imports of access logs and event files. The log's expected values are recomputed with pandas."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from tests.event_strategies import as_json
from tests.postgres.landed import count, counters, event, now
from tests.postgres.test_partitions import archive, make_cold
from tilda.cli import cli
from warehouse.events import imports
from warehouse.events.imports import ImportResult, import_file
from warehouse.events.landing import land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.installation import BASE_DIR
from warehouse.sites.registry import add_site

SAMPLE = BASE_DIR / "demo" / "data" / "semicomplete-access.log.gz"
MONTHS = [date(2024, month, 1) for month in (1, 2, 3)]


@pytest.fixture
def url(database_url: str) -> str:
    add_site(database_url, "shop", ["shop.example"], "UTC")
    return database_url


def import_events(url: str, path: Path, **more: Any) -> ImportResult:
    return import_file(url, path, site_id="shop", format="events", hash_key="key", **more)


def lines(number: int = 3000) -> list[dict[str, Any]]:
    """Return events of three months with IDs that are not UUIDs, ten visitors and fifty sessions."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        {
            "event_id": f"event {n}",
            "event_type": "page_view",
            "created_at": (start + n * timedelta(days=91) / number).isoformat(),
            "session_id": f"session {n % 50}",
            "visit_id": f"visit {n % 40}",
            "tab_id": f"tab {n % 60}",
            "user_id": f"user {n % 10}",
        }
        for n in range(number)
    ]


def write(path: Path, events: Iterable[dict[str, Any] | bytes]) -> Path:
    path.write_bytes(b"".join((e if isinstance(e, bytes) else as_json(e)) + b"\n" for e in events))
    return path


def unescaped(text: str) -> str:
    r"""Decode the escapes \xhh that Apache writes for non-ASCII bytes."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode(errors="replace") if "\\" in text else text


def test_the_imported_sample_log_equals_a_pandas_computation(database_url: str) -> None:
    add_site(database_url, "blog", ["semicomplete.com"], "UTC")

    def run() -> ImportResult:
        return import_file(database_url, SAMPLE, site_id="blog", format="access-log", hash_key="key")

    result = run()

    text = gzip.decompress(SAMPLE.read_bytes()).decode().splitlines()
    pattern = r'^(\S+) \S+ \S+ \[(.*?)\] "(\S+) (\S+) [^"]*" (\d+) \S+(?: "([^"]*)" "(.*?)"?)?$'
    log = pd.DataFrame(
        [re.match(pattern, line).groups() for line in text],  # type: ignore[union-attr]
        columns=["address", "at", "method", "target", "status", "referrer", "agent"],
    )
    assert len(log) == result.lines == 10_000
    log["extension"] = log["target"].str.extract(r"^[^?#]*\.([A-Za-z0-9]+)(?:[?#]|$)")[0].str.lower()
    no_pages = re.findall(
        r"\w+",
        """png jpg jpeg gif ico svg css js ttf woff pdf ps tex jar exe gz deb txt xml xsl swf pcap log conf c sh spec
        patch lua doc pyc gem vim diff cpp java""",
    )
    get = log["method"] == "GET"
    answered = log["status"].isin(["200", "304"])
    static = log["extension"].isin(no_pages)
    pages = log[get & answered & ~static]
    assert result.imported == len(pages)
    assert result.left_out["not_get"] == (~get).sum()
    assert result.left_out["error_status"] == (get & (log["status"] >= "400")).sum()
    assert result.left_out["static_file"] == (get & answered & static).sum()
    assert (result.duplicates, result.rejected, result.months) == (0, 0, [date(2015, 5, 1)])

    with connect(database_url) as connection:
        landed = pd.DataFrame(
            connection.execute(
                """
                select
                    to_char(created_at at time zone 'UTC', 'DD/Mon/YYYY:HH24:MI:SS') || ' +0000' as at,
                    page_url, coalesce(referrer, '-') as referrer, coalesce(user_agent, '-') as agent, user_id, is_bot,
                    session_id, host(ip_address) as network, event_type, source
                from public.events
                """
            ).fetchall(),
            columns=[
                "at",
                "page_url",
                "referrer",
                "agent",
                "user_id",
                "is_bot",
                "session_id",
                "network",
                "type",
                "source",
            ],
        )
        # each page request is stored as often as it occurs in the log
        expected = Counter(
            zip(
                pages["at"],
                "https://semicomplete.com" + pages["target"],
                pages["referrer"].replace("", "-").map(unescaped),
                pages["agent"].replace("", "-"),
                pages["address"].str.replace(r"\.\d+$", ".0", regex=True),
                strict=True,
            )
        )
        found = Counter(
            zip(*(landed[name] for name in ("at", "page_url", "referrer", "agent", "network")), strict=True)
        )
        assert found == expected
        assert landed["user_id"].nunique() == len(pages[["address", "agent"]].drop_duplicates())
        assert landed["session_id"].isna().all()
        assert set(zip(landed["type"], landed["source"], strict=True)) == {("page_view", "access-log")}
        assert not landed["user_id"].isin(pages["address"]).any()

        crawler = landed["agent"].str.contains(r"bot|spider|crawl|slurp|feed|\+http", case=False) | (
            landed["agent"] == "-"
        )
        browser = landed["agent"].str.contains(
            r"^Mozilla/5\.0 \((?:Windows|Mac|X11|iP)[^()]*\) (?:Gecko|AppleWebKit)/\S+"
        )
        assert landed.loc[crawler, "is_bot"].all()
        people = landed.loc[
            browser & ~crawler & ~landed["agent"].str.contains("Phantom|AppEngine|Preview|favicon|via ")
        ]
        assert len(people) > 1000
        assert not people["is_bot"].any()
        assert landed["is_bot"].sum() == result.bots

        again = run()
        assert (again.imported, again.duplicates, again.months, again.bots) == (0, len(pages), [], 0)
        assert again.left_out == result.left_out
        assert count(connection, "events") == len(pages)
        assert connection.execute("select sum(event_count) from users").fetchone() == (len(pages),)


def test_a_repeated_import_adds_no_events_months_or_counts(url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", lines())
    seen: list[tuple[int, int]] = []
    result = import_events(url, path, progress=lambda done, total: seen.append((done, total)))
    assert result == ImportResult(3000, 3000, 0, {}, 0, 0, MONTHS, [])
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert seen == sorted(seen)
    with connect(url) as connection:
        before = counters(connection)
        assert count(connection, "events_default") == 0
        assert connection.execute("select count(*) from events where received_at <> created_at").fetchone() == (0,)
        assert [row[5] for row in before[1]] == [60] * 50
        again = import_events(url, path)
        assert (again.imported, again.duplicates, again.months) == (0, 3000, [])
        assert counters(connection) == before


def test_a_killed_import_can_be_repeated_without_duplicates(url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", lines())

    calls: list[int] = []

    class KilledError(BaseException):
        pass

    def kill(done: int, _: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        import_events(url, path, progress=kill)
    with connect(url) as connection:
        there = count(connection, "events")
        assert 0 < there < 3000
        result = import_events(url, path)
        assert (result.imported, result.duplicates) == (3000 - there, there)
        assert count(connection, "events") == 3000
        assert [row[5] for row in counters(connection)[1]] == [60] * 50


def test_rejected_lines_are_kept_once_with_the_reason(url: str, tmp_path: Path) -> None:
    good, untimed, *_ = lines()
    del untimed["created_at"]
    future = good | {"event_id": "f", "created_at": (now() + timedelta(days=9)).isoformat()}
    bad = [
        b"{",
        b"[1]",
        b"\xff\xfe",
        as_json(untimed),
        as_json(future),
        as_json({"event_type": "click"} | {"event_id": "c"}),
    ]
    path = write(tmp_path / "events.jsonl", [good, *bad, b"", b"   ", good | {"event_id": "g"}, b"{"])
    for imported in (2, 0):
        result = import_events(url, path)
        assert (result.lines, result.imported, result.rejected) == (9, imported, 7)
        with connect(url) as connection:
            kept = connection.execute("select site_id, source, code, body from rejected_events order by id").fetchall()
            codes = ["invalid_event"] * 2 + ["invalid_json"] * 2 + ["invalid_payload", "time_out_of_range"]
            assert sorted(row[:3] for row in kept) == [("shop", "import", code) for code in codes]
            assert {row[3] for row in kept} == {"{", "[1]", "\\xff\\xfe", *(line.decode() for line in bad[3:])}


def test_the_result_counts_rejected_lines_by_reason_with_the_first_line(url: str, tmp_path: Path) -> None:
    many = lines(1500)
    many[1400]["user_id"] = 5
    click = many[0] | {"event_type": "click"}
    path = write(tmp_path / "x", [b"", *many[:3], b"{", *many[3:], b"[", b"", click])
    result = import_events(url, path)
    assert (result.lines, result.imported, result.rejected) == (1503, 1499, 4)
    assert [(one.code, one.lines, one.first_line) for one in result.reasons] == [
        ("invalid_json", 2, 5),
        ("invalid_event", 1, 1403),
        ("invalid_payload", 1, 1505),
    ]
    assert result.reasons[1].first_detail == "Expected `str | null`, got `int` - at `$.user_id`."


@pytest.fixture
def command(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs `tilda` on the database."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments)

    return run


def test_the_command_lists_rejected_lines_and_exits_with_3(command: Callable[..., Result], tmp_path: Path) -> None:
    good, late, typo, torn = lines(4)
    late["created_at"] = "yesterday"
    typo["event_type"] = ""
    path = write(tmp_path / "x", [good, late, typo, as_json(torn)[:-1]])
    options = ("--site", "shop", "--format", "events")
    said = command("import", str(path), *options)
    assert said.exit_code == 3
    assert re.search(r"invalid_event +2 +2 +Invalid RFC3339 encoded datetime - at `\$.created_at`.", said.output)
    assert re.search(r"invalid_json +1 +4 ", said.output)
    assert "3 of 4 lines were rejected" in said.output
    as_document = command("import", str(path), *options, "--json")
    assert as_document.exit_code == 3
    assert json.loads(as_document.stdout)["reasons"] == [
        {
            "code": "invalid_event",
            "lines": 2,
            "first_line": 2,
            "first_detail": "Invalid RFC3339 encoded datetime - at `$.created_at`.",
        },
        {"code": "invalid_json", "lines": 1, "first_line": 4, "first_detail": ANY},
    ]
    assert command("import", str(write(tmp_path / "y", [good])), *options).exit_code == 0


def test_imports_and_replays_apply_max_payload_bytes(
    command: Callable[..., Result], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = lines(2)
    path = write(tmp_path / "x", [small, large | {"payload": {"text": "x" * 12_000}}])
    arguments = ("import", str(path), "--site", "shop", "--format", "events", "--json")
    default = json.loads(command(*arguments).stdout)
    assert (default["imported"], default["reasons"][0]["code"]) == (1, "payload_too_large")
    assert json.loads(command("rejected", "replay", "--json").stdout)["still"] == {"payload_too_large": 1}
    monkeypatch.setenv("MAX_PAYLOAD_BYTES", "20000")
    assert json.loads(command("rejected", "replay", "--json").stdout) == {"landed": 1, "known": 0, "still": {}}
    assert json.loads(command(*arguments).stdout)["duplicates"] == 2
    monkeypatch.setenv("MAX_PAYLOAD_BYTES", "1000")
    assert json.loads(command(*arguments).stdout)["rejected"] == 1


def test_compression_is_detected_by_content_and_damage_is_reported(url: str, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.gz", lines(50))
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert import_events(url, packed).imported == 50
    assert import_events(url, plain).duplicates == 50

    torn = tmp_path / "torn.jsonl.gz"
    whole = gzip.compress(write(tmp_path / "x", lines(5000)).read_bytes())
    torn.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        import_events(url, torn)
    with connect(url) as connection:
        assert 1000 < count(connection, "events") < 5000
    with pytest.raises(UserError, match="cannot be read"):
        import_events(url, tmp_path / "missing")
    with pytest.raises(UserError, match="cannot be read"):
        import_events(url, tmp_path)


def test_a_file_of_another_format_is_rejected_before_anything_is_stored(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not look like events"):
        import_events(url, SAMPLE)
    with pytest.raises(UserError, match="event_id"):
        import_events(url, write(tmp_path / "x", [{"id": 1, "type": "page_view"}]))
    with pytest.raises(UserError, match="does not look like access-log"):
        import_file(url, write(tmp_path / "x", lines()), site_id="shop", format="access-log", hash_key="key")
    with pytest.raises(UserError, match="tilda site add"):
        import_file(url, SAMPLE, site_id="unknown", format="access-log", hash_key="key")
    empty = import_events(url, write(tmp_path / "empty", []))
    assert empty == ImportResult(0, 0, 0, {}, 0, 0, [], [])
    with connect(url) as connection:
        assert count(connection, "events") == count(connection, "rejected_events") == 0


def test_all_archived_or_cold_months_of_a_file_are_named(url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", lines(6000))
    with connect(url) as connection:
        assert import_events(url, path).months == MONTHS
        for month in MONTHS[1:]:
            archive(connection, month)
        make_cold(connection, MONTHS[2])
        connection.execute("drop table events_2024_01")
        with pytest.raises(UserError) as caught:
            import_events(url, path)
        assert "2024-02, 2024-03" in caught.value.message
        assert "`tilda restore 2024-02`, `tilda restore 2024-03`" in caught.value.remedy
        assert count(connection, "events_default") == 0


def test_an_overlong_line_is_rejected_and_shortened(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MAX_LINE", 2000)
    good = lines(2)
    path = write(tmp_path / "x", [good[0], b'{"event_id":"long","payload":"' + b"x" * 50_000 + b'"}', good[1]])
    result = import_events(url, path)
    assert (result.lines, result.imported, result.rejected) == (3, 2, 1)
    with connect(url) as connection:
        assert connection.execute("select length(body) from rejected_events").fetchone() == (2000,)


def test_the_same_file_can_be_imported_for_two_sites(url: str, tmp_path: Path) -> None:
    """UUIDs stay the same on both sites. Other IDs become different UUIDs on each site."""
    add_site(url, "blog", ["blog.example"], "UTC")
    known = [line | {"event_id": str(UUID(int=n)), "session_id": None} for n, line in enumerate(lines(50))]
    path = write(tmp_path / "x", known + lines(50))
    for site_id in ("shop", "blog"):
        result = import_file(url, path, site_id=site_id, format="events", hash_key="key")
        assert (result.imported, result.duplicates) == (100, 0), site_id
    again = import_file(url, path, site_id="blog", format="events", hash_key="key")
    assert (again.imported, again.duplicates) == (0, 100)
    with connect(url) as connection:
        assert connection.execute("select site_id, count(*) from events group by 1 order by 1").fetchall() == [
            ("blog", 100), ("shop", 100),
        ]  # fmt: skip


def test_the_first_of_lines_with_the_same_key_is_stored(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH", 7)
    (base,) = lines(1)
    path = write(tmp_path / "x", [base | {"page_title": f"line {n}"} for n in (5, 3, 9, 1, 8, 2, 7, 4, 6)])
    result = import_events(url, path)
    assert (result.imported, result.duplicates) == (1, 8)
    with connect(url) as connection:
        assert connection.execute("select page_title from events").fetchall() == [("line 5",)]


def test_live_and_imported_copies_of_an_event_are_deduplicated(url: str, tmp_path: Path) -> None:
    """An event is a duplicate whether the API or an import stored the first copy."""
    at, live, filed = now() - timedelta(days=2), UUID(int=1), UUID(int=2)
    late = UUID(int=3)  # its clock was years wrong, so its arrival time was stored
    base = {"event_type": "page_view", "created_at": at.isoformat()}
    path = write(
        tmp_path / "x",
        [
            base | {"event_id": str(live)},
            base | {"event_id": str(filed)},
            base | {"event_id": str(late), "created_at": "2001-01-01T00:00:00Z"},
        ],
    )
    with connect(url) as connection:
        wrong = datetime(2001, 1, 1, tzinfo=UTC)
        land(connection, [event(live, at), event(late, wrong)])
        assert (import_events(url, path).imported, count(connection, "events")) == (1, 3)
        assert not land(connection, [event(filed, at), event(late, wrong), event(live, at)])


def test_ip_addresses_of_a_file_are_truncated(url: str, tmp_path: Path) -> None:
    (base,) = lines(1)
    path = write(tmp_path / "x", [base | {"ip_address": "2001:db8:1:2::3", "user_agent": "curl/8.5.0"}])
    assert import_events(url, path).bots == 1
    with connect(url) as connection:
        assert connection.execute("select ip_address::text, is_bot from events").fetchall() == [
            ("2001:db8:1::/48", True)
        ]
