from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from warehouse.errors import UserError
from warehouse.installation import BASE_DIR
from warehouse.secret_store import Secrets
from warehouse.settings import Settings, load_settings


def test_every_setting_is_documented_in_the_example() -> None:
    example = (BASE_DIR / ".env.example").read_text()
    documented = {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    assert documented == {name.upper() for name in Settings.model_fields}


def test_the_example_alone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    example = Settings(_env_file=BASE_DIR / ".env.example")  # pyright: ignore[reportCallIssue]
    assert example == Settings(_env_file=None)  # pyright: ignore[reportCallIssue]


def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGEST_PORT", "eighty")
    with pytest.raises(UserError, match="INGEST_PORT"):
        load_settings()


def test_a_port_counts_as_set_only_when_somebody_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INGEST_PORT", raising=False)
    assert not Settings(_env_file=None).was_set("ingest_port")  # pyright: ignore[reportCallIssue]
    monkeypatch.setenv("INGEST_PORT", "8700")
    assert load_settings().was_set("ingest_port")


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
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


def test_a_secret_that_a_later_version_needs_is_added(tmp_path: Path) -> None:
    first = Secrets.load_or_create(tmp_path)
    file = tmp_path / "secrets.json"
    known = json.loads(file.read_text())
    del known["reader_key"]
    file.write_text(json.dumps(known))
    again = Secrets.load_or_create(tmp_path)
    assert again.service_key == first.service_key
    assert again.reader_key


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Secrets.load_or_create(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == "{"
