"""Invalid settings: every command prints one sentence with the remedy and exits with code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import PROGRAMS, UNSET
from warehouse.access.logins import PASSWORDS
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres, free_port
from warehouse.kit.installation import BASE_DIR
from warehouse.kit.secret_store import Secrets

PYTHON = sys.executable
TILDA = str(PROGRAMS / "tilda")
PUBLIC, PRIVATE = [PYTHON, "-m", "ingest_api", "public"], [PYTHON, "-m", "ingest_api", "private"]
SUPERVISOR = [PYTHON, "-m", "tilda.supervisor"]
PASSWORD = "s3cretword"
UNREACHABLE_URL = f"postgresql://owner:{PASSWORD}@127.0.0.1:9/main"


def run(command: list[str], folder: Path, code: int = 1, **settings: str) -> str:
    """Run a command, require the exit code `code` and no traceback, and return its output."""
    base = {name: value for name, value in os.environ.items() if name not in UNSET and not name.startswith("PG")}
    environment = base | {"DATA_DIR": str(folder / "data"), "MINDSDB": "0"} | settings
    done = subprocess.run(
        command, env=environment, cwd=BASE_DIR, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert PASSWORD not in said
    return said


@pytest.mark.parametrize(
    ("command", "settings", "sentence", "remedy"),
    [
        ([TILDA, "up"], {"RATE_LIMIT_PER_IP": "banana"}, "RATE_LIMIT_PER_IP is 'banana'", "500/5 minutes"),
        (PUBLIC, {"RATE_LIMIT_PER_SITE": "banana"}, "RATE_LIMIT_PER_SITE is 'banana'", "500/5 minutes"),
        (SUPERVISOR, {"DATABASE_URL": f"mysql://owner:{PASSWORD}@db/main"}, "begins with mysql://", "postgresql://"),
        (PRIVATE, {"DATABASE_URL": f"postgresql://owner:{PASSWORD}@db:x/main"}, "DATABASE_URL is not", "postgresql://"),
        ([TILDA, "status"], {"DATA_DIR": "/dev/null/data"}, "/dev/null is a file", "may write to"),
        ([TILDA, "up"], {"DATA_DIR": "/proc/data"}, "/proc/data", "permissions"),
        (
            [TILDA, "migrate"],
            {"DATABASE_URL": UNREACHABLE_URL},
            "127.0.0.1:9/main does not accept",
            "check DATABASE_URL",
        ),
        (PUBLIC, {"INGEST_WORKERS": "2"}, "needs DATABASE_URL", "`tilda up`"),
        ([TILDA, "up"], {"SERVICE_KEY_FILE": "/nowhere"}, "SERVICE_KEY_FILE, /nowhere, cannot be read", "its path"),
    ],
)
def test_wrong_setting_is_reported_in_at_most_two_lines(
    command: list[str], settings: dict[str, str], sentence: str, remedy: str, tmp_path: Path
) -> None:
    said = run(command, tmp_path, **settings)
    assert sentence in said
    assert remedy in said
    assert len(said.strip().splitlines()) <= 2


def test_status_reports_an_unreachable_database(tmp_path: Path) -> None:
    said = run([TILDA, "status"], tmp_path, DATABASE_URL=UNREACHABLE_URL)
    assert "Problem: Postgres at postgresql://owner@127.0.0.1:9/main does not accept a connection" in said
    assert "check DATABASE_URL" in said


@pytest.fixture
def without_rights(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """Create a database and a login that may only connect. Yield the URL."""
    with connect(postgres_server.url("postgres")) as admin:
        admin.execute(f"create role guest login password '{PASSWORD}'".encode())
        admin.execute("create database foreign_database")
        yield replace_in_url(postgres_server.url("foreign_database"), user="guest", password=PASSWORD)
        admin.execute("drop database foreign_database with (force)")
        admin.execute("drop role guest")


def test_login_without_permissions_is_reported_with_a_remedy(without_rights: str, tmp_path: Path) -> None:
    for command in ([TILDA, "migrate"], [TILDA, "db", "logins", "--rotate"]):
        said = run(command, tmp_path, DATABASE_URL=without_rights)
        assert "Postgres refuses the login of DATABASE_URL" in said
        assert "right to create roles" in said
    assert "lacks the platform's tables" in run([TILDA, "site", "list"], tmp_path, DATABASE_URL=without_rights)


def test_failed_start_prints_the_error_of_the_supervisor(without_rights: str, secrets: Secrets, tmp_path: Path) -> None:
    """The supervisor runs in the background, so `tilda up` must print its error."""
    passwords = {name.upper(): getattr(secrets, name) for name in PASSWORDS.values()}
    said = run([TILDA, "up", "--detach"], tmp_path, DATABASE_URL=without_rights, **passwords)
    assert "Postgres refuses the login of DATABASE_URL: permission denied" in said


def test_second_machine_cannot_start_and_gets_a_warning_from_migrate(database_url: str, tmp_path: Path) -> None:
    """The passwords of this machine differ from those of the logins on the server."""
    said = run([TILDA, "up", "--detach"], tmp_path, DATABASE_URL=database_url)
    assert "Another machine made the logins of this database" in said
    assert "`tilda db logins --rotate`" in said
    assert "refused" in run([TILDA, "db", "logins"], tmp_path, DATABASE_URL=database_url)
    said = run([TILDA, "migrate"], tmp_path, code=0, DATABASE_URL=database_url)
    assert "The schema is up to date." in said
    assert "Warning: Another machine made the logins" in said


def test_rotating_logins_restores_access_after_secrets_were_lost(tmp_path: Path) -> None:
    settings = {"POSTGRES_PORT": str(free_port(8980))}
    run([TILDA, "migrate"], tmp_path, code=0, **settings)
    (tmp_path / "data" / "secrets.json").unlink()
    said = run([TILDA, "site", "list"], tmp_path, **settings)
    assert "does not accept the password that secrets.json holds" in said
    assert "`tilda db logins --rotate`" in said
    run([TILDA, "db", "logins", "--rotate"], tmp_path, code=0, **settings)
    assert "refused" not in run([TILDA, "db", "logins"], tmp_path, code=0, **settings)
