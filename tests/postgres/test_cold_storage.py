"""Cold storage on S3, and the README's queries of cold files with DuckDB and ClickHouse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.postgres.landed import count
from tests.postgres.months import COLD, FEBRUARY, JANUARY, contents, fill, places, run
from tests.s3_server import BUCKET, objects, s3_server
from warehouse.archive import cold, runs
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.kit.installation import BASE_DIR

FOLDER = f"s3://{BUCKET}/cold"


def test_months_move_to_s3_and_back(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database_url, JANUARY, FEBRUARY)
    with s3_server(tmp_path / "s3.log") as environment, connect(database_url) as connection:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        before = contents(connection)
        with pytest.raises(UserError, match="cannot be written"):
            run(database_url, "s3://no-such-bucket/cold", COLD)
        assert places(connection) == {"2020_01": "archive", "2020_02": "public"}
        run(database_url, FOLDER, COLD)
        files = cold.list_files(connection)
        assert [file.month for file in files] == [JANUARY, FEBRUARY]
        assert [f"s3://{BUCKET}/{key}" for key in objects(environment)] == [file.url for file in files]
        assert count(connection, "archive.files_to_delete") == 0
        runs.restore(database_url, JANUARY)
        runs.restore(database_url, FEBRUARY)
        assert contents(connection) == before
        assert objects(environment) == []


def readme_query(function: str) -> str:
    """Return the README's SQL query that calls this function."""
    blocks = re.findall(r"```sql\n(.*?)```", (BASE_DIR / "README.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if function in block]
    return found


def test_the_readmes_duckdb_and_clickhouse_queries_give_the_result_of_postgres(
    database_url: str, tmp_path: Path
) -> None:
    fill(database_url, JANUARY, FEBRUARY)
    with connect(database_url) as connection:
        connection.execute(
            """
            update events set event_type = 'purchase', payload = '{"order": {"amount": 12.5}, "n": "ü"}'
            where user_id = 'user-1'
            """
        )
        connection.execute("set timezone = 'UTC'")
        expected = [
            list(row)
            for row in connection.execute(
                """
                select
                    to_char(created_at, 'YYYY-MM'), count(*), count(distinct user_id),
                    sum((payload #>> '{order,amount}')::float) filter (where event_type = 'purchase')
                from public.events group by 1 order by 1
                """
            ).fetchall()
        ]
    run(database_url, f"file://{tmp_path}/cold", COLD)

    duck = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    query = readme_query("read_parquet(").replace(".data/cold", f"{tmp_path}/cold")
    assert [list(row) for row in duck.execute(query).fetchall()] == expected

    # Run chdb in its own process, because the library replaces the allocator and starts threads.
    query = readme_query("file(").replace(".data/cold", f"{tmp_path}/cold")
    done = subprocess.run(
        [sys.executable, "-c", "import sys, chdb; print(chdb.query(sys.argv[1], 'JSONCompactEachRow'))", query],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert [[month, int(events), int(visitors), revenue] for month, events, visitors, revenue in rows] == expected
