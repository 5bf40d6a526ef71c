"""Publish one champion to MindsDB: its stored model, the query for the feature rows, and a sample to verify."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import psycopg
from psycopg import sql

from ml import artifacts, mindsdb
from ml.features import Target
from ml.mindsdb_client import Server
from warehouse.kit import conninfo
from warehouse.kit.database import with_one_host
from warehouse.propensity import store
from warehouse.propensity.mindsdb_server import view_name
from warehouse.propensity.scores import order_values

SAMPLE_ROWS = 1000
PURCHASES = "purchase_7d"
"""The target whose view also gets the expected order value."""

WORTH = "expected_order_value"


@dataclass(frozen=True)
class Report:
    """A published champion.

    Attributes:
        site_id: The site.
        target: The target.
        model_version: Version of the champion.
        action: `created`, `retrained` or `unchanged`.
        view: Name of the view in MindsDB.
        compared: Number of visitors whose scores were compared with scikit-learn.
        difference: Largest absolute difference between the two scores.
    """

    site_id: str
    target: str
    model_version: str
    action: str
    view: str
    compared: int
    difference: float


def login(url: str) -> mindsdb.Database:
    """Return the read-only login as parameters of a MindsDB connection; of several hosts, the one that answers."""
    given = conninfo.parameters(with_one_host(url))
    return mindsdb.Database(
        host=given.get("host", "127.0.0.1"),
        port=int(given.get("port", "5432")),
        database=given["dbname"],
        user=given["user"],
        password=given.get("password", ""),
        sslmode=given.get("sslmode", "prefer"),
    )


def publish(
    connection: psycopg.Connection, server: Server, database: mindsdb.Database, site_id: str, target: Target
) -> Report | None:
    """Publish the champion of a site and target to MindsDB.

    Returns:
        The report, or None if there is no champion.

    Raises:
        MindsDBError: MindsDB is unreachable, returns an error, or returns scores that differ from scikit-learn. The
            version published before stays in use.
    """
    champion = store.champion(connection, site_id, target.name)
    if champion is None:
        return None
    content = store.artifact(connection, site_id, target.name, champion.version)
    model = artifacts.loads(content, sha256=champion.artifact_sha256)
    frame = store.scoring_frame(connection, site_id).head(SAMPLE_ROWS)
    columns = ["site_id", "user_id", "as_of", *model.numeric, *model.categorical]
    newest = sql.SQL(
        "select {columns} from marts.visitor_features where site_id = {site} and as_of ="
        " (select max(as_of) from marts.visitor_features where site_id = {site})"
    ).format(columns=sql.SQL(", ").join(map(sql.Identifier, columns)), site=sql.Literal(site_id))
    worth = WORTH if target.name == PURCHASES else None
    row = sql.SQL(
        "select artifact, artifact_sha256 from ml.model_versions"
        " where site_id = {site} and target = {target} and version = {version}"
    ).format(site=sql.Literal(site_id), target=sql.Literal(target.name), version=sql.Literal(champion.version))
    sample = sql.SQL("{} order by user_id limit {}").format(newest, sql.Literal(SAMPLE_ROWS))
    done = mindsdb.publish(
        server,
        database,
        name=view_name(site_id, target.name),
        model_query=row.as_string(connection),
        features_query=(_with_worth(newest, site_id) if worth else newest).as_string(connection),
        worth=worth,
        sample=mindsdb.Sample(
            sample.as_string(connection), pd.Series(model.predict(frame), index=frame["user_id"].to_numpy())
        ),
    )
    return Report(site_id, target.name, champion.version, done.action, done.view, done.compared, done.difference)


def _with_worth(features: sql.Composed, site_id: str) -> sql.Composed:
    """Return the feature query with a column for the expected order value of each visitor."""
    newest = sql.SQL("(select max(as_of) from marts.visitor_features where site_id = {})").format(sql.Literal(site_id))
    return sql.SQL(
        "with order_values as ({values}) select features.*, coalesce(own.order_value, site.order_value) as {worth}"
        " from ({features}) as features"
        " left join order_values as own on features.user_id = own.user_id"
        " left join order_values as site on site.user_id is null"
    ).format(values=order_values(site_id, newest), worth=sql.Identifier(WORTH), features=features)
