"""The environment of the stack's processes: every non-secret setting, the secrets they need, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tilda.environments import STORAGE, SYSTEM, chosen_settings, inherited
from tilda.services import services
from warehouse.kit.settings import RESOLVED, Settings

SECRET = "postgresql://s3cret:s3cret@db.example/main"
OTHERS = {
    "TRUSTED_PROXIES": "10.0.0.0/8, ::1",
    "MINDSDB": "0",
    "INGEST_HOST": "0.0.0.0",
    "RATE_LIMIT_PER_IP": "10/minute",
    "SPOOL_MAX_BYTES": "65536",
    "EVENTS_PATH": "/e",
}

PORTS = {"ingest_port": 8700, "private_port": 8701, "dagster_port": 8702}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings with every secret and several other settings in `.env`, the rest in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    lines = [f"{name.upper()}={SECRET}" for name in Settings.secret_names()]
    (tmp_path / ".env").write_text("\n".join([*lines, *(f"{name}={value}" for name, value in OTHERS.items())]))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("INGEST_PORT", "8710")
    return Settings(_env_file=tmp_path / ".env")  # pyright: ignore[reportCallIssue]


def test_every_non_secret_setting_is_passed_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = chosen_settings(settings)
    assert "s3cret" not in str(passed)
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("INGEST_PORT")  # each process gets its own port
    read = Settings(_env_file=tmp_path / ".env")  # pyright: ignore[reportCallIssue]
    expected = settings.model_dump(exclude=set(Settings.secret_names()) | {"ingest_port"})
    assert read.model_dump(exclude={"ingest_port", *Settings.secret_names()}) == expected
    # `chosen_settings` stops the process from reading `.env`, which holds the secrets.
    assert {getattr(read, name) for name in Settings.secret_names()} == {None}


def test_a_process_of_the_stack_opens_no_secret_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", "given")
    monkeypatch.setenv("SERVICE_KEY_FILE", str(tmp_path / "nowhere"))
    monkeypatch.setenv(RESOLVED, "1")
    assert Settings(_env_file=None).service_key == "given"  # pyright: ignore[reportCallIssue]


def test_only_allowed_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    allowed = {"PATH": "/bin", "LC_TIME": "C", "PYTHONHASHSEED": "0", "SSL_CERT_FILE": "/ca", "OMP_NUM_THREADS": "1"}
    refused = {"CANARY": "x", "GITHUB_TOKEN": "x", "PGPASSWORD": "x", "PATHS": "x", "SERVICE_KEY_FILE": "x"}
    storage = {"AWS_ACCESS_KEY_ID": "x", "HTTPS_PROXY": "x"}
    for name, value in (allowed | refused | storage).items():
        monkeypatch.setenv(name, value)
    assert inherited(SYSTEM) == allowed
    assert inherited((*SYSTEM, *STORAGE)) == allowed | storage


def test_each_process_gets_only_the_secrets_that_it_needs(settings: Settings) -> None:
    found = {service.name: service.environment for service in services(settings, PORTS)}
    logins = {name: conninfo_to_dict(environment["DATABASE_URL"])["user"] for name, environment in found.items()}
    assert logins == {
        "ingest": "tilda_ingest", "private": "tilda_reader", "dagster-webserver": "s3cret", "dagster-daemon": "s3cret",
    }  # fmt: skip
    assert {name for name, environment in found.items() if "MINDSDB_PASSWORD" in environment} == {
        "dagster-webserver", "dagster-daemon",
    }  # fmt: skip
    assert "COLD_STORAGE_URL" not in found["ingest"]
    assert {"SERVICE_KEY", "TILDA_WEBHOOK_TOKEN", "RATE_LIMIT_STORAGE_URL"} <= found["ingest"].keys()
    assert "READER_KEY" not in found["ingest"]
