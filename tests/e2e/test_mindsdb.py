"""Models in a real MindsDB: publishing, reading with a MySQL client, and rolling back a failed publish."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pymysql
import pytest
from psycopg import sql

from ml import artifacts, mindsdb_publishing, training
from ml.errors import MindsDBError
from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES, load_targets
from ml.mindsdb_client import COMPLETE, Client, Server
from ml.model import Propensity
from orchestration.defs.mindsdb import steps
from tests.e2e.mindsdb_server import MindsDB
from tests.e2e.stack import Stack
from tests.e2e.test_stack import processes_left
from tests.feature_tables import COLUMNS, WEEK, visitors
from warehouse.kit.database import connect, replace_in_url
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.settings import Settings
from warehouse.propensity import store
from warehouse.propensity.mindsdb_server import mindsdb_login

# The first test includes the start of MindsDB and, if needed, its installation.
pytestmark = pytest.mark.timeout(900)

TARGET = load_targets()["conversion_7d"]
READER = "mindsdb_test_reader"
VIEW = "propensity_shop"
COUNTS = [name for name in NUMERIC_NAMES if name.endswith(("_7d", "_28d")) and "share" not in name]


@dataclass
class World:
    """A warehouse with features and two trained models, and a MindsDB that can read the warehouse."""

    mindsdb: MindsDB
    connection: psycopg.Connection
    database: mindsdb_publishing.Database
    first: Propensity
    second: Propensity

    def promote(self, model: Propensity) -> None:
        artifact = artifacts.dumps(model)
        store.record_version(
            self.connection, site_id="shop", target=TARGET.name, version=model.version, decision="promoted",
            reason="test", algorithm=model.kind, artifact=artifact.content, artifact_sha256=artifact.sha256,
        )  # fmt: skip

    def publish(self) -> steps.PublishedChampion:
        report = steps.publish(self.connection, self.mindsdb.login(), self.database, "shop", TARGET)
        assert report is not None
        return report

    def expected(self, model: Propensity) -> dict[str, float]:
        frame = store.scoring_frame(self.connection, "shop")
        return dict(zip(frame["user_id"], model.predict(frame), strict=True))

    def served(self) -> dict[str, float]:
        return {str(user): float(p) for user, p in self.mindsdb.mysql(f"SELECT user_id, propensity FROM {VIEW}")}

    def assert_serves(self, model: Propensity) -> None:
        served, expected = self.served(), self.expected(model)
        assert served.keys() == expected.keys()
        assert max(abs(served[user] - expected[user]) for user in expected) <= 1e-12

    def complete(self) -> list[int]:
        return [one.number for one in self.client().versions(f"{VIEW}_model") if one.status == COMPLETE]

    def client(self) -> Client:
        return Client(self.mindsdb.login())


def fill(connection: psycopg.Connection, frame: pd.DataFrame) -> None:
    """Create `marts.visitor_features` with the column types of dbt. MindsDB returns bigint counts as Int64."""
    kinds = {"site_id": "text", "user_id": "text", "as_of": "timestamptz", "converted_7d": "boolean"}
    kinds |= dict.fromkeys(NUMERIC_NAMES, "double precision") | dict.fromkeys(COUNTS, "bigint")
    kinds |= dict.fromkeys(CATEGORICAL_NAMES, "text")
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    connection.execute(f"create table if not exists marts.visitor_features ({columns})")
    connection.execute("truncate marts.visitor_features")
    connection.execute(
        "create table if not exists marts.conversions (site_id text, goal_id text, user_id text,"
        " revenue numeric(18, 2), currency text, converted_at timestamptz)"
    )
    connection.execute("grant select on all tables in schema marts to analyst")
    table = frame.assign(**{name: frame[name].round().astype("Int64") for name in COUNTS})[list(kinds)]
    text = io.StringIO()
    table.to_csv(text, index=False, header=False)
    with connection.cursor() as cursor, cursor.copy("copy marts.visitor_features from stdin (format csv)") as copy:
        copy.write(text.getvalue())


@pytest.fixture(scope="module")
def world(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    server = MindsDB(tmp_path_factory.mktemp("mindsdb"))
    server.start()
    owner = postgres_server.url("postgres")
    try:
        with connect(owner) as admin:
            admin.execute("create database mindsdb_test template tilda_template")
            admin.execute(sql.SQL("create role {} login password 'one' in role analyst").format(sql.Identifier(READER)))
        url = replace_in_url(owner, database="mindsdb_test")
        with connect(url) as connection:
            frame = visitors(4_000, seed=5).drop_duplicates(["user_id", "as_of"])
            fill(connection, frame)
            known = store.training_frame(connection, "shop", TARGET.label, TARGET.weeks)
            first, second = (
                training.fit(known, **COLUMNS, visitor="user_id", horizon=WEEK, learners=learners, target=TARGET.name)
                for learners in (("regression",), ("boosting",))
            )
            assert first.version != second.version
            server.wait()
            database = replace(steps.mindsdb_database(replace_in_url(url, user=READER, password="one")), name="tilda")
            yield World(server, connection, database, first, second)
    finally:
        server.stop()
        with connect(owner) as admin:
            admin.execute("drop database if exists mindsdb_test with (force)")
            admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(READER)))


@pytest.fixture
def serving(world: World) -> World:
    """Publish the first model before each test."""
    world.promote(world.first)
    world.publish()
    return world


def test_mysql_client_reads_the_predictions_of_scikit_learn(serving: World) -> None:
    serving.assert_serves(serving.first)
    expected = serving.expected(serving.first)
    best = sorted(expected.values(), reverse=True)[:3]
    rows = serving.mindsdb.mysql(
        f"SELECT user_id, propensity FROM {VIEW} WHERE propensity > 0.001 ORDER BY propensity DESC LIMIT 3"
    )
    assert [float(row[1]) for row in rows] == pytest.approx(best, abs=1e-12)
    assert serving.publish().action == "unchanged"


def test_promoted_model_is_served_and_an_earlier_model_can_be_restored(serving: World) -> None:
    serving.promote(serving.second)
    report = serving.publish()
    assert (report.action, report.model_version) == ("retrained", serving.second.version)
    assert report.difference <= 1e-12
    serving.assert_serves(serving.second)
    serving.promote(serving.first)
    serving.publish()
    serving.assert_serves(serving.first)
    for model in (serving.second, serving.first):
        serving.promote(model)
        serving.publish()
    assert len(serving.complete()) <= mindsdb_publishing.KEPT_VERSIONS


def test_purchase_model_serves_expected_values(serving: World) -> None:
    target = load_targets()["purchase_7d"]
    artifact = artifacts.dumps(serving.first)
    store.record_version(
        serving.connection, site_id="shop", target=target.name, version="p1", decision="promoted", reason="test",
        artifact=artifact.content, artifact_sha256=artifact.sha256,
    )  # fmt: skip
    expected = serving.expected(serving.first)
    best = max(expected, key=lambda user: expected[user])
    serving.connection.execute("truncate marts.conversions")
    for user, revenue in ((best, 4_000), ("someone", 1_000)):
        serving.connection.execute(
            "insert into marts.conversions values ('shop', 'purchase', %s, %s, 'RUB', '2020-01-01')", [user, revenue]
        )
    assert steps.publish(serving.connection, serving.mindsdb.login(), serving.database, "shop", target) is not None
    rows = serving.mindsdb.mysql("SELECT user_id, propensity, expected_value FROM purchase_7d_shop")
    values_by_user = {str(user): (float(p), float(value)) for user, p, value in rows}
    assert values_by_user.keys() == expected.keys()
    for user, (chance, value) in values_by_user.items():
        assert value == pytest.approx(chance * ((4_000 + 3 * 2_500) / 4 if user == best else 2_500))


def with_another_scikit_learn_version(content: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"1.2.3"
    return buffer.getvalue()


@pytest.mark.parametrize("wrong", ["another scikit-learn", "other bytes", "other answers"])
def test_rejected_model_leaves_the_served_model_in_place(serving: World, wrong: str) -> None:
    content = artifacts.dumps(serving.second).content
    if wrong == "another scikit-learn":
        content = with_another_scikit_learn_version(content)
    digest = hashlib.sha256(content).hexdigest() if wrong != "other bytes" else "0" * 64
    serving.connection.execute(
        "insert into ml.model_versions (site_id, target, version, decision, reason, artifact, artifact_sha256)"
        " values ('shop', %s, %s, 'kept', 'test', %s, %s)",
        [TARGET.name, wrong, content, digest],
    )
    frame = store.scoring_frame(serving.connection, "shop").head(20)
    before = serving.complete()
    words = {
        "another scikit-learn": "made by scikit-learn 1.2.3",
        "other bytes": "do not have the hash",
        "other answers": "differ from scikit-learn",
    }[wrong]
    with pytest.raises(MindsDBError, match=words):
        mindsdb_publishing.publish(
            serving.mindsdb.login(),
            serving.database,
            name=VIEW,
            model_query=f"select artifact, artifact_sha256 from ml.model_versions where version = '{wrong}'",
            features_query="select 1",
            sample=mindsdb_publishing.Sample(
                "select * from marts.visitor_features where site_id = 'shop' and as_of ="
                " (select max(as_of) from marts.visitor_features) order by user_id limit 20",
                pd.Series(np.full(len(frame), 0.5), index=frame["user_id"].to_numpy()),
            ),
        )
    assert serving.complete() == before
    serving.assert_serves(serving.first)


def test_wrong_login_is_refused(serving: World) -> None:
    with pytest.raises(MindsDBError, match="refuses the login; correct MINDSDB_USERNAME"):
        Client(serving.mindsdb.login("guessed"))
    with pytest.raises(MindsDBError, match="refuses the login"):
        Client(replace(serving.mindsdb.login(), username=None, password=None)).sql("SHOW VIEWS")
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        serving.mindsdb.mysql("SELECT 1", password="guessed")


def test_publish_reconnects_with_a_rotated_database_password(serving: World) -> None:
    """The open connection of MindsDB survives a rotation, so the test requires a new connection."""

    def sessions() -> set[str]:
        query = "select application_name from pg_stat_activity where usename = %s"
        return {name for (name,) in serving.connection.execute(query, [READER])}

    serving.served()
    before = sessions()
    assert len(before) == 1
    serving.connection.execute(sql.SQL("alter role {} password 'two'").format(sql.Identifier(READER)))
    serving.database = replace(serving.database, password="two")
    assert serving.publish().action == "unchanged"
    assert len(sessions() - before) == 1  # Postgres accepts a new connection only with the new password
    serving.assert_serves(serving.first)
    known = serving.client().sql("SELECT * FROM information_schema.databases")
    assert "two" not in known.to_json()


@pytest.mark.long
def test_a_hundred_thousand_predictions_match_scikit_learn(world: World) -> None:
    frame = visitors(106_000, seed=9, visitors_per_row=20).drop_duplicates("user_id").head(100_000)
    frame = frame.assign(as_of=frame["as_of"].max())
    kept = store.training_frame(world.connection, "shop", TARGET.label, TARGET.weeks)
    fill(world.connection, frame)
    try:
        world.promote(world.second)
        world.publish()
        assert len(frame) == 100_000
        world.assert_serves(world.second)
    finally:
        fill(world.connection, kept)


@pytest.mark.long
def test_a_publish_interrupted_by_a_kill_keeps_the_old_model_and_can_be_repeated(serving: World) -> None:
    serving.promote(serving.second)
    failed: list[MindsDBError] = []

    def publish() -> None:
        try:
            steps.publish(serving.connection, serving.mindsdb.login(), serving.database, "shop", TARGET)
        except MindsDBError as error:
            failed.append(error)

    client = serving.client()
    numbers = {one.number for one in client.versions(f"{VIEW}_model")}
    publisher = threading.Thread(target=publish)
    publisher.start()
    while publisher.is_alive() and {one.number for one in client.versions(f"{VIEW}_model")} == numbers:
        pass
    serving.mindsdb.kill()
    publisher.join(timeout=300)
    assert not publisher.is_alive()
    assert failed, "MindsDB was killed only after the publish had ended"
    serving.mindsdb.start()
    serving.mindsdb.wait()
    serving.assert_serves(serving.first)
    serving.publish()
    serving.assert_serves(serving.second)
    assert all(one.status == COMPLETE for one in serving.client().versions(f"{VIEW}_model"))


@pytest.mark.long
def test_stack_starts_mindsdb_and_stops_it_with_itself(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    try:
        stack.run("up", "--detach", MINDSDB="1")
        settings = Settings(_env_file=None, data_dir=stack.data_dir, mindsdb_password=None)
        deadline = time.monotonic() + 200
        while (status := stack.status())["mindsdb_url"] is None and time.monotonic() < deadline:
            time.sleep(1)
        assert "mindsdb" in {one["name"] for one in status["processes"] if one["running"]}
        login = mindsdb_login(settings)
        assert login is not None
        assert login.url == status["mindsdb_url"]
        assert Client(Server(login.url, login.username, login.password)).sql("SELECT 1 AS one")["one"].tolist() == [1]

        supervisor = json.loads((stack.data_dir / "run" / "stack.json").read_text())["supervisor"]["pid"]
        os.kill(supervisor, signal.SIGKILL)
    finally:
        stack.run("down")
    assert processes_left(stack) == []
    assert mindsdb_login(settings) is None
