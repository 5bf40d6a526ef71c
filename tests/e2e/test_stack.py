"""Starting, using, killing and stopping the complete stack."""

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
# Secrets that an operator's shell may contain, and two variables that every process needs.
CANARIES = {
    "CANARY_TOKEN": "canary-1",
    "AWS_SECRET_ACCESS_KEY": "canary-2",
    "PGPASSWORD": "canary-3",
    "LC_ALL": "C.UTF-8",
    "MAX_PAYLOAD_BYTES": "10241",
}


def processes_of(stack: Stack) -> list[psutil.Process]:
    """Return the running processes of the stack, found by its data directory."""
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


def processes_left(stack: Stack, seconds: float = 30) -> list[psutil.Process]:
    """Wait up to `seconds` for all processes to end and return those that still run."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(stack)) and time.monotonic() < deadline:
        time.sleep(0.3)
    return left


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the module. Tests may stop it; the `running` fixture starts it again."""
    stack = Stack(tmp_path_factory.mktemp("stack") / "data", settings=CANARIES)
    yield stack
    stack.run("down")
    assert processes_left(stack) == []


@pytest.fixture
def running(stack: Stack) -> Stack:
    if stack.status()["state"] != "ready":
        stack.run("up", "--detach")
    return stack


def send(status: dict[str, object], key: str, **event: object) -> dict[str, object]:
    answer = httpx.post(f"{status['ingest_url']}/api/events", params={"key": key}, json=[event], timeout=30)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_events_of_an_added_site_are_counted_in_status(running: Stack) -> None:
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
    with psycopg.connect(running.owner_url()) as connection:
        assert connection.execute("select count(*) from public.events").fetchone() == (after["events"],)


def test_status_prints_a_read_only_database_url(running: Stack) -> None:
    """A BI tool with this URL reads the marts but cannot read raw events or change data."""
    url = running.status()["database_url"]
    assert url.startswith("postgresql://tilda_reader@127.0.0.1:")  # over TCP, without a password in the URL
    with psycopg.connect(url, autocommit=True) as reader:
        assert reader.execute("select count(*) from ml.propensity_scores").fetchone()
        reader.execute("set default_transaction_read_only = off")
        for statement in ("select from public.events", "drop schema marts cascade", "create role more"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


def test_each_api_process_receives_only_its_own_secrets(running: Stack) -> None:
    """The test looks for canary variables of the operator's shell and for every secret of the stack."""
    secrets = json.loads((running.data_dir / "secrets.json").read_text())
    own = {"ingest": {"ingest_password", "service_key", "tilda_webhook_token"}}
    own["private"] = {"reader_password", "privacy_password", "reader_key", "service_key"}
    environments = {one["name"]: psutil.Process(one["pid"]).environ() for one in running.status()["processes"]}
    for name, known in own.items():
        text = "\n".join(environments[name].values())
        assert {secret for secret, value in secrets.items() if value in text} == known, name
        assert "canary-1" not in text
        assert ("canary-2" in text) == (name == "private")  # erasure rewrites archived months in object storage
        assert "canary-3" not in text
        assert environments[name]["LC_ALL"] == "C.UTF-8"
        assert environments[name]["MAX_PAYLOAD_BYTES"] == "10241"
    assert "canary-1" not in "\n".join(environments["dagster-daemon"].values())


def test_psql_connects_as_owner_or_reader_without_exposing_the_password(running: Stack) -> None:
    look = ["-Atc", "select current_user, count(*) from pg_stat_activity where datname = current_database()"]
    assert running.run("psql", *look).startswith("postgres|")
    assert running.run("psql", "--as", "reader", *look).startswith("tilda_reader|")
    assert "permission denied" in running.run("psql", "--as", "reader", "-c", "select from public.events", code=1)
    shell = ["-c", "\\! tr '\\0' ' ' < /proc/$PPID/cmdline"]
    seen = running.run("psql", *shell)
    assert "host=127.0.0.1" in seen
    assert json.loads((running.data_dir / "secrets.json").read_text())["postgres_password"] not in seen


def test_analyst_is_added_listed_and_removed(running: Stack) -> None:
    access = json.loads(running.run("analyst", "add", "anna", "--json"))
    with psycopg.connect(access["url"]) as anna:
        assert anna.execute("select current_user").fetchone() == ("anna",)
        assert [one["name"] for one in json.loads(running.run("analyst", "list", "--json"))] == ["anna"]
        assert "Would remove the analyst anna with 1 open" in running.run("analyst", "remove", "anna", "--dry-run")
    running.run("analyst", "remove", "anna")
    assert "There are no analysts" in running.run("analyst", "list")
    with pytest.raises(psycopg.OperationalError, match="anna"):
        psycopg.connect(access["url"])
    assert "no analyst 'anna'" in running.run("analyst", "remove", "anna", code=1)


@pytest.fixture(scope="module")
def modelled(stack: Stack) -> tuple[Stack, dict[str, int]]:
    """Import a log and a simulated shop twice; return the stack and each site's event count of the first import."""
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


def test_imported_log_matches_an_independent_count(modelled: tuple[Stack, dict[str, int]]) -> None:
    stack, _ = modelled
    views = read_sample_log()
    people = [view for view in views if not view.is_bot]
    with psycopg.connect(stack.owner_url()) as connection:
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


def test_simulated_visitors_become_sessions_and_too_few_days_give_no_scores(
    modelled: tuple[Stack, dict[str, int]],
) -> None:
    stack, imported = modelled
    with psycopg.connect(stack.owner_url()) as connection:

        def scalar(query: str) -> object:
            row = connection.execute(query).fetchone()
            assert row is not None
            return row[0]

        assert scalar("select count(*) from public.events where site_id = 'shop'") == imported["shop"]
        counted = scalar("select count(*) from marts.sessions where site_id = 'shop'")
        assert counted
        assert scalar("select sum(sessions) from marts.daily_totals where site_id = 'shop'") == counted
        # Twelve days contain no cutoff for training, so there are no scores and the reason is stored.
        assert scalar("select count(*) from ml.propensity_scores") == 0
        assert "needed" in str(scalar("select reason from ml.model_versions where site_id = 'shop' limit 1"))


def test_unknown_asset_selection_is_an_error_without_traceback(running: Stack) -> None:
    said = running.run("materialize", "key:no/such_asset", code=1)
    assert "No asset is named 'no/such_asset'." in said
    assert "Traceback" not in said


def test_second_up_keeps_the_running_processes(running: Stack) -> None:
    before = running.status()["processes"]
    running.run("up", "--detach")
    assert running.status()["processes"] == before


def test_killed_process_is_restarted(running: Stack) -> None:
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


def test_postgres_is_restarted_after_sigkill(running: Stack) -> None:
    before = running.status()
    postmaster = int((running.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (after := running.status())["events"] != before["events"] and time.monotonic() < deadline:
        time.sleep(0.5)
    assert after["events"] == before["events"]
    assert after["database_url"] == before["database_url"]


def test_sigkill_and_ctrl_c_leave_no_process_and_lose_no_event(running: Stack) -> None:
    events = running.status()["events"]
    state = json.loads((running.data_dir / "run" / "stack.json").read_text())
    os.kill(state["supervisor"]["pid"], signal.SIGKILL)
    running.run("down")
    assert processes_left(running) == []
    assert running.status()["state"] == "stopped"

    with running.popen("up") as process:
        deadline = time.monotonic() + 120
        while running.status()["state"] != "ready" and time.monotonic() < deadline:
            time.sleep(0.5)
        assert running.status()["events"] == events
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=90)
    assert processes_left(running) == []
    assert not (running.data_dir / "run" / "stack.json").exists()
    assert not (running.data_dir / "run" / "lock").exists()


def test_taken_configured_port_is_an_error_without_traceback(stack: Stack) -> None:
    stack.run("down")
    port = stack.ports["INGEST_PORT"]
    with socket.create_server(("127.0.0.1", port)):
        said = stack.run("up", "--detach", code=1)
    assert f"Port {port} on 127.0.0.1 is taken by process {os.getpid()} (" in said
    assert "INGEST_PORT" in said
    assert "Traceback" not in said
    assert processes_left(stack) == []


def test_second_down_succeeds(stack: Stack) -> None:
    stack.run("down")
    assert "Nothing was running." in stack.run("down")
