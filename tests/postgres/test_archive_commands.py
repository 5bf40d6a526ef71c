"""`tilda archive`, `tilda restore` and `tilda partitions`, and the scheduled asset that archives months."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from orchestration.defs.archive.assets import archived_months
from orchestration.lib.warehouse import Warehouse
from tests.postgres.landed import event, landed_ids
from tests.postgres.months import FEBRUARY, JANUARY, contents, fill, places
from tilda.cli import cli
from warehouse.events.landing import IMPORT, land
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError


@pytest.fixture
def url(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in (
        ("DATABASE_URL", database_url),
        ("DATA_DIR", str(tmp_path)),
        ("COLD_STORAGE_URL", f"file://{tmp_path}/cold"),
        ("ARCHIVE_AFTER_MONTHS", "6"),
        ("COLD_AFTER_MONTHS", "12"),
    ):
        monkeypatch.setenv(name, value)
    fill(database_url, JANUARY, FEBRUARY)
    return database_url


def tilda(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def test_commands_archive_list_and_restore_months(url: str) -> None:
    with connect(url) as connection:
        before = contents(connection)
        (waiting,) = landed_ids(land(connection, [event(at=before[0][1].replace(month=3))], IMPORT))
        assert json.loads(tilda("partitions", "ensure", "--json").output) == {"made": ["2020-03-01"], "waiting": {}}
        connection.execute("delete from events where event_id = %s", [waiting])

        steps = [{"month": "2020-01-01", "action": "archive", "rows": 60}]
        run = ["archive", "run", "--as-of", "2020-08-10"]
        assert json.loads(tilda(*run, "--dry-run", "--json").output) == steps
        assert places(connection)["2020_01"] == "public"
        assert tilda(*run, "--dry-run").output == "Would move 2020-01 to the archive: 60 events.\n"
        assert json.loads(tilda(*run, "--json").output) == steps
        assert "No month is old enough." in tilda(*run).output
        assert "Wrote 2020-01 to file:///" in tilda("archive", "run", "--as-of", "2021-02-03").output
        listed = {one["month"]: one for one in json.loads(tilda("partitions", "list", "--json").output)}
        assert [listed[month]["place"] for month in ("2020-01-01", "2020-02-01", None)] == [
            "cold",
            "archive",
            "default",
        ]
        assert listed["2020-01-01"]["oldest"] == before[0][1].isoformat()

        land(connection, [event(at=before[0][1].replace(day=30))], IMPORT)
        assert "1 event(s) belong to the archived month 2020-01" in tilda("partitions", "ensure").output
        connection.execute("truncate events_default")
        assert tilda("restore", "2020-1x").exit_code != 0
        assert "2020-01 is live again: 60 events." in tilda("restore", "2020-01").output
        assert json.loads(tilda("restore", "2020-02", "--json").output)["place"] == "archive"
        again = tilda("restore", "2020-02")
        assert isinstance(again.exception, UserError)
        assert contents(connection) == contents(connection, "public.events") == before


def test_the_scheduled_asset_archives_months(url: str) -> None:
    result = dg.materialize([archived_months], resources={"warehouse": Warehouse(database_url=url)})
    (done,) = result.asset_materializations_for_node("archive__event_months")
    assert done.metadata["cold_months"].value == 2
    with connect(url) as connection:
        assert places(connection) == {"2020_01": "cold", "2020_02": "cold"}
