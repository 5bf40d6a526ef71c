"""Serve a stored model in MindsDB, so that any MySQL client can ask for scores.

The model travels as one row of ``ml.model_versions`` that MindsDB itself selects with a read-only login; the code that
runs it is ``ml.serving``, uploaded as it stands. After ``publish`` anyone may write::

    SELECT user_id, propensity FROM propensity_shop ORDER BY propensity DESC LIMIT 20

Known limits of MindsDB 26.0: ``WHERE propensity > x LIMIT n`` on the join applies the limit first (use the view, or a
sub-query); a connection that a restart of Postgres broke is made anew only after a minute without queries; and whoever
may write ``ml.model_versions`` decides what MindsDB loads (only listed types, see ``ml.serving``).
"""

import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.errors import MindsDBError
from ml.mindsdb_client import COMPLETE, PROJECT, Client, Server, Version

NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
TOLERANCE = 1e-12
KEPT_VERSIONS = 3
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Database:
    """The read-only login with which MindsDB reads models and features, and the name it gives to it."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str = "prefer"
    name: str = "tilda"


@dataclass(frozen=True)
class Sample:
    """Rows to compare: a query for MindsDB to run, and what scikit-learn says of them by ``user_id``."""

    query: str
    expected: pd.Series


@dataclass(frozen=True)
class Published:
    """What is served now. ``difference`` is the largest between MindsDB and scikit-learn over ``compared`` rows."""

    action: Literal["created", "retrained", "unchanged"]
    model: str
    model_version: int
    engine: str
    view: str
    compared: int
    difference: float


def publish(
    server: Server,
    database: Database,
    *,
    name: str,
    model_query: str,
    features_query: str,
    sample: Sample,
    value_column: str | None = None,
) -> Published:
    """Make MindsDB serve one stored model under ``name``, compare it with scikit-learn, and offer a view.

    A model that fails to load, or differs from scikit-learn by more than 1e-12, is taken back: the former version
    serves on. Publishing what is served already changes nothing.

    Args:
        server: The MindsDB server.
        database: How MindsDB reaches the warehouse.
        name: Of the view; the model is called ``name`` + "_model". Lower-case letters, digits, underscores.
        model_query: Postgres SELECT of the columns artifact and artifact_sha256 of exactly one row of
            ``ml.model_versions``, naming its version literally, by which a published model is recognised.
        features_query: Postgres SELECT of ``site_id``, ``user_id``, ``as_of`` and the model's columns, for the view.
        sample: Rows to compare.
        value_column: Column of ``features_query`` with the value of one positive. The view then also has the column
            ``expected_value``: the propensity times this value.

    Raises:
        MindsDBError: The server is away, refuses the login, answers an error, runs another scikit-learn, takes too
            long, or does not agree with scikit-learn.
    """
    for word in (name, database.name):
        if not NAME.fullmatch(word):
            raise MindsDBError(f"{word!r} is no name for MindsDB; use lower-case letters, digits and underscores.")
    client = Client(server)
    engine = _ensure_engine(client)
    _ensure_database(client, database)
    model = f"{name}_model"
    # The statements are made of our own checked names and of the caller's queries.
    # MindsDB shows the query of a version but not its engine, so the query names it.
    query = f"SELECT artifact, artifact_sha256, 0.0 AS propensity, '{engine}' AS engine FROM ({model_query}) AS chosen"  # noqa: S608
    versions = client.versions(model)
    serving = next((one for one in versions if one.active and one.status == COMPLETE), None)
    if serving and serving.query == query:
        action, number = "unchanged", serving.number
    else:
        action, number = _load(
            client, model, f"FROM {database.name} ({query}) PREDICT propensity USING engine = '{engine}'", versions
        )
    try:
        difference = _compare(client, model, database.name, sample)
    except MindsDBError:
        _withdraw(client, model, number)
        raise
    _drop_old_versions(client, model)
    expected = f", m.propensity * t.{value_column} AS expected_value" if value_column else ""
    _ensure_view(
        client,
        name,
        f"SELECT t.site_id, t.user_id, t.as_of, m.propensity{expected} FROM {database.name} ({features_query}) AS t "  # noqa: S608
        f"JOIN {PROJECT}.{model} AS m",
    )
    return Published(action, model, number, engine, name, len(sample.expected), difference)


def highest_scores(server: Server, view: str, *, limit: int) -> pd.DataFrame:
    """Return the columns `user_id` and `propensity` of the visitors with the highest scores in a published view.

    Raises:
        MindsDBError: The server is unreachable, refuses the login, or answers with an error.
    """
    query = f"SELECT user_id, propensity FROM {view} ORDER BY propensity DESC LIMIT {limit}"  # noqa: S608 - our own names
    return Client(server).sql(query)


def _ensure_engine(client: Client) -> str:
    """The engine that runs today's ``ml.serving``, named by its hash: MindsDB keeps using an engine's first code."""
    code = files("ml").joinpath("serving.py").read_text(encoding="utf-8")
    name = f"tilda_{hashlib.sha256(code.encode()).hexdigest()[:12]}"
    engines = client.sql("SHOW ML_ENGINES")
    if engines.empty or name not in set(engines["name"]):
        client.put_engine(name, code)
    return name


def _ensure_database(client: Client, database: Database) -> None:
    """Connect the warehouse, anew when it moved or its password changed."""
    wanted = {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "database": database.database,
        "sslmode": database.sslmode,
    }
    # MindsDB shows no password, and a connection that it holds open outlives a rotated one: a fingerprint tells.
    wanted_name = f"mindsdb-{_fingerprint(database.password)}"
    known = client.sql("SELECT * FROM information_schema.databases").set_index("name")
    if database.name in known.index:
        stored: dict[str, Any] = json.loads(str(known.loc[database.name, "connection_data"] or "{}"))
        name = (stored.get("connection_parameters") or {}).get("application_name")
        if name == wanted_name and {key: stored.get(key) for key in wanted} == wanted:
            try:
                client.sql(f"SELECT * FROM {database.name} (SELECT 1 AS reached)")  # noqa: S608
            except MindsDBError:
                pass  # The connection broke, or the warehouse is away; connecting anew tells which.
            else:
                return
        client.sql(f"DROP DATABASE {database.name}")
    parameters = json.dumps(
        wanted | {"password": database.password, "connection_parameters": {"application_name": wanted_name}}
    )
    client.sql(f"CREATE DATABASE {database.name} WITH ENGINE = 'postgres', PARAMETERS = {parameters}")


def _fingerprint(password: str) -> str:
    """Tells two passwords apart and neither away: slow to make, short."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), b"tilda-mindsdb", 100_000).hex()[:12]


def _load(
    client: Client, model: str, clauses: str, versions: list[Version]
) -> tuple[Literal["created", "retrained"], int]:
    """Make MindsDB select and load the model, and wait. A version that fails is dropped."""
    if any(version.status == COMPLETE for version in versions):
        action: Literal["created", "retrained"] = "retrained"
        started = client.sql(f"RETRAIN {PROJECT}.{model} {clauses}")
    else:
        action = "created"
        if versions:
            client.sql(f"DROP MODEL {PROJECT}.{model}")
        started = client.sql(f"CREATE MODEL {PROJECT}.{model} {clauses}")
    number = int(started["version"].iloc[0])
    try:
        _await(client, model, number)
    except MindsDBError:
        _withdraw(client, model, number)
        raise
    return action, number


def _await(client: Client, model: str, number: int) -> None:
    deadline = time.monotonic() + client.server.load_timeout
    while time.monotonic() < deadline:
        version = next((one for one in client.versions(model) if one.number == number), None)
        if version is None:
            raise MindsDBError(
                f"Version {number} of {model} vanished from MindsDB while it was loading; publish again."
            )
        if version.status == COMPLETE:
            return
        if version.status == "error":
            reason = version.error.split(", raised at:")[0]
            raise MindsDBError(f"MindsDB could not load the model, and the former one serves on: {reason}")
        time.sleep(POLL_SECONDS)
    raise MindsDBError(
        f"MindsDB had not loaded {model} after {client.server.load_timeout:.0f} s; the former version serves on. "
        "Publish again when it is less busy."
    )


def _compare(client: Client, model: str, database: str, sample: Sample) -> float:
    """The largest difference from scikit-learn over the sample.

    Raises:
        MindsDBError: It exceeds the tolerance, or other rows came back.
    """
    rows = client.sql(
        f"SELECT t.user_id, m.propensity FROM {database} ({sample.query}) AS t JOIN {PROJECT}.{model} AS m"  # noqa: S608
    )
    served = pd.Series(
        pd.to_numeric(rows["propensity"]).to_numpy(dtype="float64") if len(rows) else [],
        index=rows["user_id"].astype(str) if len(rows) else [],
        dtype="float64",
    )
    expected = sample.expected.set_axis(sample.expected.index.astype(str))
    if not served.index.is_unique or set(served.index) != set(expected.index):
        raise MindsDBError(
            f"MindsDB scored {len(served):,} rows where {len(expected):,} were expected; the former version serves on. "
            "The features changed meanwhile, or its login cannot see them all: publish again or check its rights."
        )
    difference = float(np.abs(served.reindex(expected.index) - expected).max()) if len(expected) else 0.0
    if not difference <= TOLERANCE:
        raise MindsDBError(
            f"MindsDB's scores differ from scikit-learn's by up to {difference:.2g}, so the former version serves on; "
            "install the same scikit-learn, numpy and scipy in MindsDB's environment and publish again."
        )
    return difference


def _withdraw(client: Client, model: str, number: int) -> None:
    """Let the newest other complete version serve again and drop ``number``; without another, serve none."""
    with suppress(MindsDBError):  # The first error is the one to show; the next publish finds what is left.
        others = [one for one in client.versions(model) if one.status == COMPLETE and one.number != number]
        if not others:
            client.sql(f"DROP MODEL {PROJECT}.{model}")
            return
        if not any(one.active for one in others):
            client.sql(f"SET ACTIVE {PROJECT}.{model}.{others[-1].number}")
        client.sql(f"DROP MODEL {PROJECT}.{model}.{number}")


def _drop_old_versions(client: Client, model: str) -> None:
    """Keep the newest versions that work; MindsDB would keep all, and those that a crash left half-made."""
    versions = client.versions(model)
    kept = [version.number for version in versions if version.status == COMPLETE][-KEPT_VERSIONS:]
    for version in versions:
        if version.number not in kept and not version.active:
            client.sql(f"DROP MODEL {PROJECT}.{model}.{version.number}")


def _ensure_view(client: Client, name: str, query: str) -> None:
    views = client.sql("SHOW VIEWS")
    known = dict(zip(views["name"], views["query"], strict=True)) if len(views) else {}
    if name not in known:
        client.sql(f"CREATE VIEW {PROJECT}.{name} AS ({query})")
    elif known[name] != query:
        client.sql(f"ALTER VIEW {PROJECT}.{name} AS ({query})")
