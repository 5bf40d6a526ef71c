"""The stack as its owner starts, uses, breaks and stops it."""

import json
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator

import httpx
import psutil
import psycopg
import pytest

from tests.e2e.sample_log import SAMPLE_LOG, count_sessions, read_sample_log
from tests.e2e.stack import Stack

VISITORS, DAYS = 400, 12


def processes_of(stack: Stack) -> list[psutil.Process]:
    """Every process that knows the stack's data directory: the supervisor, its children, Postgres."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                data_dir = str(stack.data_dir)
                if process.environ().get("DATA_DIR") == data_dir or data_dir in " ".join(process.cmdline()):
                    found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def gone(stack: Stack, seconds: float = 30) -> list[psutil.Process]:
    """What is still there after waiting."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(stack)) and time.monotonic() < deadline:
        time.sleep(0.3)
    return left


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for this module; tests may stop it, and start it again when they need it."""
    stack = Stack(tmp_path_factory.mktemp("stack") / "data")
    yield stack
    stack.run("down")
    assert gone(stack) == []


@pytest.fixture
def running(stack: Stack) -> Stack:
    if stack.status()["state"] != "ready":
        stack.run("up", "--detach")
    return stack


def send(status: dict[str, object], key: str, **event: object) -> dict[str, object]:
    answer = httpx.post(f"{status['ingest_url']}/api/events", params={"key": key}, json=[event], timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_site_is_connected_and_its_events_are_counted(running: Stack) -> None:
    running.run("site", "add", "first", "--domain", "first.example")
    sites = json.loads(running.run("site", "list", "--json"))
    key = next(site["public_key"] for site in sites if site["site_id"] == "first")
    before = running.status()
    assert key in running.run("snippet", "first")
    assert str(before["ingest_url"]) in running.run("snippet", "first")

    event_id = str(uuid.uuid4())
    assert send(before, key, event_id=event_id, event_type="signup", user_id="u")["accepted"] == 1
    assert send(before, key, event_id=event_id, event_type="signup", user_id="u")["duplicates"] == 1

    after = running.status()
    assert after["events"] == before["events"] + 1
    assert after["last_event_at"] is not None
    assert {one["name"] for one in after["processes"] if one["running"]} == {
        "ingest", "private", "dagster-webserver", "dagster-daemon",
    }  # fmt: skip
    assert httpx.get(f"{after['dagster_url']}/server_info", timeout=30).status_code == 200
    assert httpx.get(f"{after['private_url']}/health", timeout=30).status_code == 200
    with psycopg.connect(after["database_url"]) as connection:  # over TCP, without a password in the address
        assert connection.execute("select count(*) from public.events").fetchone() == (after["events"],)
    assert "password" not in after["database_url"]


@pytest.fixture(scope="module")
def modelled(stack: Stack) -> tuple[Stack, dict[str, int]]:
    """A real log and a small shop, brought in twice and materialised once; with what the first time brought."""
    if stack.status()["state"] != "ready":
        stack.run("up", "--detach")
    stack.run("site", "add", "blog", "--domain", "semicomplete.com")
    stack.run("site", "add", "shop", "--domain", "shop.example", "--timezone", "Europe/Moscow")
    log = ["import", str(SAMPLE_LOG), "--site", "blog", "--format", "access-log", "--json"]
    shop = ["simulate", "--site", "shop", "--visitors", str(VISITORS), "--days", str(DAYS), "--seed", "3", "--json"]
    shop += ["--end", f"{time.strftime('%Y-%m-%dT%H', time.gmtime())}:00:00"]
    first_log, again_log = (json.loads(stack.run(*log)) for _ in range(2))
    first, again = (json.loads(stack.run(*shop)) for _ in range(2))
    assert first["imported"] > 0
    assert first["sent"] > 0
    assert (again_log["imported"], again["imported"], again["sent"]) == (0, 0, 0)
    assert again["duplicates"] >= first["imported"] + first["sent"]
    result = json.loads(stack.run("materialize", "--json"))
    assert result["checks_failed"] == []
    return stack, {"blog": first_log["imported"], "shop": first["imported"] + first["sent"]}


def test_a_real_log_is_counted_as_by_hand(modelled: tuple[Stack, dict[str, int]]) -> None:
    stack, _ = modelled
    views = read_sample_log()
    people = [view for view in views if not view.is_bot]
    with psycopg.connect(stack.status()["database_url"]) as connection:
        events = "select count(*), count(*) filter (where is_bot), count(distinct user_id) from public.events"
        assert connection.execute(f"{events} where site_id = 'blog'").fetchone() == (
            len(views),
            sum(view.is_bot for view in views),
            len({view.visitor for view in views}),
        )
        marts = "select sum(page_views), count(distinct user_id), count(*) from marts.sessions where site_id = 'blog'"
        assert connection.execute(marts).fetchone() == (
            len(people),
            len({view.visitor for view in people}),
            count_sessions(people),
        )


def test_simulated_visitors_become_sessions_and_an_honest_no_score(modelled: tuple[Stack, dict[str, int]]) -> None:
    stack, brought = modelled
    with psycopg.connect(stack.status()["database_url"]) as connection:

        def one(query: str) -> object:
            row = connection.execute(query).fetchone()
            assert row is not None
            return row[0]

        assert one("select count(*) from public.events where site_id = 'shop'") == brought["shop"]
        counted = one("select count(*) from marts.sessions where site_id = 'shop'")
        assert counted
        assert one("select sum(sessions) from marts.daily_totals where site_id = 'shop'") == counted
        # twelve days hold no cut-off that could be learned from: no scores, and the reason in words
        assert one("select count(*) from ml.propensity_scores") == 0
        assert "needed" in str(one("select reason from ml.model_versions where site_id = 'shop' limit 1"))


def test_an_unknown_selection_is_one_sentence(running: Stack) -> None:
    said = running.run("materialize", "key:no/such_asset", code=1)
    assert "No asset is named 'no/such_asset'." in said
    assert "Traceback" not in said


def test_up_again_changes_nothing(running: Stack) -> None:
    before = running.status()["processes"]
    running.run("up", "--detach")
    assert running.status()["processes"] == before


def test_a_process_that_dies_comes_back(running: Stack) -> None:
    before = running.status()
    ingest = next(one for one in before["processes"] if one["name"] == "ingest")
    os.kill(ingest["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{before['ingest_url']}/ready", timeout=2).status_code == 200:
                break
        except httpx.HTTPError:
            time.sleep(0.2)
    after = next(one for one in running.status()["processes"] if one["name"] == "ingest")
    assert after["running"]
    assert after["pid"] != ingest["pid"]


def test_postgres_comes_back_after_kill_9(running: Stack) -> None:
    before = running.status()
    postmaster = int((running.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (after := running.status())["events"] != before["events"] and time.monotonic() < deadline:
        time.sleep(0.5)
    assert after["events"] == before["events"]
    assert after["database_url"] == before["database_url"]


def test_kill_9_and_ctrl_c_leave_nothing_behind_and_lose_nothing(running: Stack) -> None:
    events = running.status()["events"]
    state = json.loads((running.data_dir / "run" / "stack.json").read_text())
    os.kill(state["supervisor"]["pid"], signal.SIGKILL)
    running.run("down")
    assert gone(running) == []
    assert running.status()["state"] == "stopped"

    with running.popen("up") as process:
        deadline = time.monotonic() + 120
        while running.status()["state"] != "ready" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert running.status()["events"] == events
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=90)
    assert gone(running) == []
    assert not (running.data_dir / "run" / "stack.json").exists()
    assert not (running.data_dir / "run" / "lock").exists()


def test_a_taken_port_that_was_asked_for_is_one_sentence(stack: Stack) -> None:
    stack.run("down")
    port = stack.ports["INGEST_PORT"]
    with socket.create_server(("127.0.0.1", port)):
        said = stack.run("up", "--detach", code=1)
    assert f"Port {port} on 127.0.0.1 is taken by process {os.getpid()} (" in said
    assert "INGEST_PORT" in said
    assert "Traceback" not in said
    assert gone(stack) == []


def test_down_twice_is_no_error(stack: Stack) -> None:
    stack.run("down")
    assert "Nothing was running." in stack.run("down")
