"""Queries that MindsDB runs in Postgres with the read-only login: a stored model, and the features of visitors."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from warehouse.propensity.scores import order_values

EXPECTED_ORDER_VALUE = "expected_order_value"
KEYS = ("site_id", "user_id", "as_of")


def model_query(connection: psycopg.Connection, site_id: str, target: str, version: str) -> str:
    """Return the query for one stored model: the columns `artifact` and `artifact_sha256`, one row."""
    return (
        sql.SQL(
            "select artifact, artifact_sha256 from ml.model_versions"
            " where site_id = {site} and target = {target} and version = {version}"
        )
        .format(site=sql.Literal(site_id), target=sql.Literal(target), version=sql.Literal(version))
        .as_string(connection)
    )


def features_query(
    connection: psycopg.Connection, site_id: str, columns: Sequence[str], *, with_order_value: bool = False
) -> str:
    """Return the query for the features of a site's newest cut-off: the columns of `KEYS`, then `columns`.

    Args:
        connection: Connection whose encoding is used to quote values.
        site_id: The site.
        columns: Columns of `marts.visitor_features`.
        with_order_value: Whether to add the column `EXPECTED_ORDER_VALUE`: the expected value of a visitor's order.
    """
    features = _features(site_id, columns)
    if with_order_value:
        features = sql.SQL(
            "with order_values as ({values}) select features.*, coalesce(own.order_value, site.order_value) as {name}"
            " from ({features}) as features"
            " left join order_values as own on features.user_id = own.user_id"
            " left join order_values as site on site.user_id is null"
        ).format(
            values=order_values(site_id, _newest_cutoff(site_id)),
            name=sql.Identifier(EXPECTED_ORDER_VALUE),
            features=features,
        )
    return features.as_string(connection)


def sample_query(connection: psycopg.Connection, site_id: str, columns: Sequence[str], rows: int) -> str:
    """Return the query for the first `rows` visitors of `features_query`, ordered by `user_id`."""
    query = sql.SQL("{} order by user_id limit {}").format(_features(site_id, columns), sql.Literal(rows))
    return query.as_string(connection)


def _features(site_id: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL("select {columns} from marts.visitor_features where site_id = {site} and as_of = {newest}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, (*KEYS, *columns))),
        site=sql.Literal(site_id),
        newest=_newest_cutoff(site_id),
    )


def _newest_cutoff(site_id: str) -> sql.Composed:
    return sql.SQL("(select max(as_of) from marts.visitor_features where site_id = {})").format(sql.Literal(site_id))
