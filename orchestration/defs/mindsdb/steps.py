"""Publish one champion to MindsDB: its stored model, the query for the feature rows, and a sample to verify."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import psycopg

from ml import mindsdb_publishing
from ml.features import Target
from ml.mindsdb_client import Server
from orchestration.lib import stored_models
from warehouse.kit.database import split_address, with_one_host
from warehouse.propensity import mindsdb_queries, store
from warehouse.propensity.mindsdb_server import view_name

SAMPLE_ROWS = 1000
PURCHASE_TARGET = "purchase_7d"
"""The target whose view also contains the expected order value, and its product with the probability."""


@dataclass(frozen=True)
class PublishedChampion:
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


def mindsdb_database(url: str) -> mindsdb_publishing.Database:
    """Return the parameters with which MindsDB connects to Postgres; of several hosts, the one that answers.

    Args:
        url: Address with the read-only login.
    """
    parts = split_address(with_one_host(url))
    return mindsdb_publishing.Database(
        host=parts.host or "127.0.0.1",
        port=parts.port,
        database=parts.database,
        user=parts.user,
        password=parts.password,
        sslmode=parts.sslmode,
    )


def publish(
    connection: psycopg.Connection, server: Server, database: mindsdb_publishing.Database, site_id: str, target: Target
) -> PublishedChampion | None:
    """Publish the champion of a site and target to MindsDB.

    Returns:
        The published champion, or None if there is no champion.

    Raises:
        ArtifactError: The stored champion cannot be loaded.
        MindsDBError: MindsDB is unreachable, returns an error, or returns scores that differ from scikit-learn. The
            version published before stays in use.
    """
    champion = store.champion(connection, site_id, target.name)
    if champion is None:
        return None
    model = stored_models.load(connection, champion)
    columns = [*model.numeric, *model.categorical]
    has_order_value = target.name == PURCHASE_TARGET
    sample = store.scoring_frame(connection, site_id).head(SAMPLE_ROWS)
    published = mindsdb_publishing.publish(
        server,
        database,
        name=view_name(site_id, target.name),
        model_query=mindsdb_queries.model_query(connection, site_id, target.name, champion.version),
        features_query=mindsdb_queries.features_query(connection, site_id, columns, with_order_value=has_order_value),
        value_column=mindsdb_queries.EXPECTED_ORDER_VALUE if has_order_value else None,
        sample=mindsdb_publishing.Sample(
            mindsdb_queries.sample_query(connection, site_id, columns, SAMPLE_ROWS),
            pd.Series(model.predict(sample), index=sample["user_id"].to_numpy()),
        ),
    )
    return PublishedChampion(
        site_id,
        target.name,
        champion.version,
        published.action,
        published.view,
        published.compared,
        published.difference,
    )
