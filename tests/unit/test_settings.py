from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from warehouse.kit.errors import UserError
from warehouse.kit.installation import BASE_DIR
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings, load_settings


def test_every_setting_is_in_env_example() -> None:
    example = (BASE_DIR / ".env.example").read_text()
    documented = {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    assert documented == {name.upper() for name in Settings.model_fields}


def test_env_example_contains_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    example = Settings(_env_file=BASE_DIR / ".env.example")  # pyright: ignore[reportCallIssue]
    assert example == Settings(_env_file=None)  # pyright: ignore[reportCallIssue]


def test_an_invalid_value_is_reported_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGEST_PORT", "eighty")
    with pytest.raises(UserError, match="INGEST_PORT"):
        load_settings()


def test_a_default_port_does_not_count_as_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INGEST_PORT", raising=False)
    assert not Settings(_env_file=None).was_set("ingest_port")  # pyright: ignore[reportCallIssue]
    monkeypatch.setenv("INGEST_PORT", "8700")
    assert load_settings().was_set("ingest_port")


def test_secrets_are_generated_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = Secrets.load_or_create(tmp_path)
    assert Secrets.load_or_create(tmp_path) == first
    assert len(set(first.as_dict().values())) == len(first.as_dict())
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_processes_that_start_together_get_the_same_secrets(tmp_path: Path) -> None:
    found: list[Secrets] = []
    threads = [threading.Thread(target=lambda: found.append(Secrets.load_or_create(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_secret_that_is_missing_in_the_file_is_added(tmp_path: Path) -> None:
    first = Secrets.load_or_create(tmp_path)
    file = tmp_path / "secrets.json"
    known = json.loads(file.read_text())
    del known["reader_key"]
    file.write_text(json.dumps(known))
    again = Secrets.load_or_create(tmp_path)
    assert again.service_key == first.service_key
    assert again.reader_key


def test_a_damaged_secrets_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Secrets.load_or_create(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == "{"


def test_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from the file\r\n")
    for name in Settings.secret_names():
        monkeypatch.delenv(name.upper(), raising=False)
        if name not in {"database_url", "database_direct_url"}:
            monkeypatch.setenv(f"{name.upper()}_FILE", str(file))
    (tmp_path / "url").write_text("postgresql://owner@db.example/main\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    settings = load_settings()
    assert settings.database_url == "postgresql://owner@db.example/main"
    assert settings.was_set("database_url")
    for name in Settings.secret_names() - {"database_url", "database_direct_url"}:
        assert getattr(settings, name) == "from the file", name
    assert settings.model_copy(update={"data_dir": tmp_path}).secrets.ingest_password == "from the file"


def test_only_secrets_are_read_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EVENTS_PATH", raising=False)
    monkeypatch.setenv("EVENTS_PATH_FILE", str(tmp_path / "nowhere"))
    assert load_settings().events_path == "/api/events"


def test_an_unusable_secret_file_is_reported_with_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    monkeypatch.delenv("SERVICE_KEY", raising=False)
    for path, reason in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "empty", "empty"),
        (tmp_path / "bytes", "text"),
    ):
        monkeypatch.setenv("SERVICE_KEY_FILE", str(path))
        with pytest.raises(UserError, match=f"SERVICE_KEY_FILE.*{reason}"):
            load_settings()
    (tmp_path / "key").write_text("x")
    monkeypatch.setenv("SERVICE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SERVICE_KEY", "y")
    with pytest.raises(UserError, match="SERVICE_KEY and SERVICE_KEY_FILE are both set"):
        load_settings()


def test_secrets_do_not_appear_in_reprs_or_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.secret_names():
        monkeypatch.setenv(name.upper(), f"postgresql://s3cret:s3cret@db.example/main?application_name={name}")
    settings = load_settings()
    assert "s3cret" not in repr(settings)
    assert repr(Secrets.load_or_create(tmp_path)).count("=") == 0
    monkeypatch.setenv("INGEST_PORT", "s3cret")
    with pytest.raises(UserError) as refused:
        load_settings()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"RATE_LIMIT_PER_IP": "banana"}, "RATE_LIMIT_PER_IP is 'banana'"),
        ({"RATE_LIMIT_PER_SITE": "5/fortnight"}, "RATE_LIMIT_PER_SITE"),
        ({"INGEST_PORT": "8710", "PRIVATE_PORT": "8710"}, "INGEST_PORT and PRIVATE_PORT are both 8710"),
        ({"DATA_DIR": "/dev/null"}, "DATA_DIR is /dev/null, but /dev/null is a file"),
        ({"SPOOL_DIR": "/dev/null/spool"}, "SPOOL_DIR is /dev/null/spool, but /dev/null is a file"),
        ({"DATA_DIR": f"/{'x' * 300}"}, "File name too long"),
        ({"DATABASE_DIRECT_URL": "mysql://owner@db/main"}, "DATABASE_DIRECT_URL begins with mysql://"),
    ],
)
def test_invalid_settings_are_rejected_with_the_reason(
    settings: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as refused:
        load_settings()
    assert sentence in refused.value.message
    assert refused.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
def test_an_unwritable_data_dir_is_rejected(tmp_path: Path) -> None:
    """Load the settings in a child process that gives up root privileges."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    code = (
        "import os; from warehouse.kit.settings import load_settings; load_settings(); os.setuid(65534);"
        f"os.environ['DATA_DIR'] = '{tmp_path}/mine/data'; load_settings()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, capture_output=True, text=True, check=False)
    assert f"{tmp_path} cannot be written to" in done.stderr


def test_every_rate_limit_of_the_library_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("off", "OFF", "10/minute", "100 per 2 hours"):
        monkeypatch.setenv("RATE_LIMIT_PER_IP", value)
        assert load_settings().rate_limit_per_ip == value
