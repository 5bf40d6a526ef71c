"""Reads feature rows, and stores model versions and scores in the schema `ml`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pandas as pd
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from warehouse.kit.errors import UserError
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"
SCORE_COLUMNS = ("site_id", "user_id", "target", "as_of", "score", "decile", "band", "reasons", "model_version")

Decision = Literal["promoted", "kept", "refused", "rolled_back"]


@dataclass(frozen=True)
class ModelVersion:
    """A row of `ml.model_versions`, without the stored model."""

    site_id: str
    target: str
    version: str
    decision: Decision
    is_champion: bool
    reason: str
    algorithm: str | None
    metrics: dict[str, Any]
    artifact_sha256: str | None
    trained_from: datetime | None
    trained_to: datetime | None
    created_at: datetime


_VERSION_COLUMNS = sql.SQL(
    "site_id, target, version, decision, is_champion, reason, algorithm, metrics, artifact_sha256,"
    " trained_from, trained_to, created_at"
)


def sites_with_features(connection: psycopg.Connection) -> list[str]:
    """Return the IDs of sites with feature rows."""
    return [row[0] for row in connection.execute("select distinct site_id from marts.visitor_features order by 1")]


@dataclass(frozen=True)
class GoalLabel:
    """A label computed from goals: whether one of `goals` was reached within `horizon` after the cut-off.

    The label is known `settle` after the cut-off.
    """

    goals: tuple[str, ...]
    horizon: timedelta
    settle: timedelta


def training_frame(
    connection: psycopg.Connection, site_id: str, label: str, weeks: int, *, goal_label: GoalLabel | None = None
) -> pd.DataFrame:
    """Return a site's feature rows with a known `label`, from the newest `weeks` cut-offs that have such rows.

    There is one row per visitor and cut-off, ordered by `as_of` and `user_id`, so that the result is reproducible.
    """
    rows = labelled_rows(label, goal_label)
    return _frame(
        connection,
        sql.SQL(
            "with labelled as not materialized ({rows}) select * from labelled where site_id = {site} and as_of in ("
            " select distinct as_of from labelled where site_id = {site} order by 1 desc limit {weeks})"
            " order by as_of, user_id"
        ).format(rows=rows, site=sql.Literal(site_id), weeks=sql.Literal(weeks)),
    )


def labelled_rows(label: str, goal_label: GoalLabel | None = None) -> sql.Composed:
    """Return a query for feature rows with a known `label`, including the label."""
    name = sql.Identifier(label)
    if goal_label is None:
        return sql.SQL("select * from marts.visitor_features where {} is not null").format(name)
    return sql.SQL(read_query(SQL_DIR, "labelled_by_goals")).format(
        label=name,
        goals=sql.Literal(list(goal_label.goals)),
        horizon=sql.Literal(goal_label.horizon),
        settle=sql.Literal(goal_label.settle),
    )


def scoring_frame(connection: psycopg.Connection, site_id: str) -> pd.DataFrame:
    """Return the feature rows of a site's newest cut-off, ordered by `user_id`."""
    return _frame(
        connection,
        sql.SQL(
            "select * from marts.visitor_features where site_id = {site} and as_of ="
            " (select max(as_of) from marts.visitor_features where site_id = {site}) order by user_id"
        ).format(site=sql.Literal(site_id)),
    )


def past_scores(connection: psycopg.Connection, site_id: str, target: str) -> pd.DataFrame:
    """`site_id`, `user_id`, `as_of`, `score`, `band` of a target's scores at cut-offs that still have feature rows."""
    return _frame(
        connection,
        sql.SQL(
            "select site_id, user_id, as_of, score, band from ml.propensity_scores"
            " where site_id = {site} and target = {target} and as_of in ("
            " select distinct as_of from marts.visitor_features where site_id = {site})"
        ).format(site=sql.Literal(site_id), target=sql.Literal(target)),
    )


def scores_of(
    connection: psycopg.Connection, site_id: str, target: str, since: datetime, until: datetime
) -> pd.DataFrame:
    """`site_id`, `user_id`, `as_of`, `score`, `band` of a target's scores with `since` <= `as_of` <= `until`."""
    return _frame(
        connection,
        sql.SQL(
            "select site_id, user_id, as_of, score, band from ml.propensity_scores"
            " where site_id = {} and target = {} and as_of between {} and {}"
        ).format(sql.Literal(site_id), sql.Literal(target), sql.Literal(since), sql.Literal(until)),
    )


def _frame(connection: psycopg.Connection, query: sql.Composed) -> pd.DataFrame:
    """Read a query's rows with COPY, which is several times faster than fetching rows."""
    columns = connection.execute(sql.SQL("select * from ({}) as q limit 0").format(query)).description or []
    names = [column.name for column in columns]
    types = {column.name: _DTYPES.get(column.type_code, "str") for column in columns}
    buffer = io.BytesIO()
    with connection.cursor() as cursor, cursor.copy(sql.SQL("copy ({}) to stdout (format csv)").format(query)) as copy:
        for block in copy:
            buffer.write(block)
    buffer.seek(0)
    frame = pd.read_csv(
        buffer,
        names=names,
        header=None,
        dtype={name: kind for name, kind in types.items() if kind not in {"boolean", "time"}},
        keep_default_na=False,
        na_values=[""],
    )
    for name, kind in types.items():
        if kind == "boolean":
            frame[name] = frame[name].map({"t": True, "f": False}).astype("boolean")
        elif kind == "time":
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


# Type ids of Postgres (pg_type.oid): fixed for ever.
_NUMBERS = (20, 21, 23, 700, 701, 1700)
_DTYPES = {16: "boolean", 1114: "time", 1184: "time"} | dict.fromkeys(_NUMBERS, "float64")


def champion(connection: psycopg.Connection, site_id: str, target: str) -> ModelVersion | None:
    """Return the version in use, or None if there is none."""
    return _version(connection, site_id, target, sql.SQL("and is_champion"))


def find_version(connection: psycopg.Connection, site_id: str, target: str, version: str) -> ModelVersion:
    """Return a version.

    Raises:
        UserError: The version does not exist.
    """
    found = _version(connection, site_id, target, sql.SQL("and version = {}").format(sql.Literal(version)))
    if found is None:
        raise UserError(
            f"{site_id} has no model of {target} called {version}.", f"See: tilda models list --site {site_id}"
        )
    return found


def newest_version(connection: psycopg.Connection, site_id: str, target: str) -> ModelVersion | None:
    """Return the version with the newest decision of any kind."""
    return _version(connection, site_id, target, sql.SQL("order by created_at desc limit 1"))


def _version(connection: psycopg.Connection, site_id: str, target: str, which: sql.Composable) -> ModelVersion | None:
    with connection.cursor(row_factory=class_row(ModelVersion)) as cursor:
        query = sql.SQL("select {} from ml.model_versions where site_id = %s and target = %s {}").format(
            _VERSION_COLUMNS, which
        )
        return cursor.execute(query, [site_id, target]).fetchone()


def artifact(connection: psycopg.Connection, site_id: str, target: str, version: str) -> bytes:
    """Return the stored model of a version.

    Raises:
        UserError: The version has no stored model.
    """
    row = connection.execute(
        "select artifact from ml.model_versions where site_id = %s and target = %s and version = %s",
        [site_id, target, version],
    ).fetchone()
    if row is None or row[0] is None:
        raise UserError(
            f"Model {version} of {site_id} has no artefact.", "Train it again: tilda materialize 'group:ml'."
        )
    return bytes(row[0])


def record_version(
    connection: psycopg.Connection,
    *,
    site_id: str,
    target: str,
    version: str,
    decision: Decision,
    reason: str,
    algorithm: str | None = None,
    artifact: bytes | None = None,
    artifact_sha256: str | None = None,
    features: list[str] | None = None,
    metrics: dict[str, Any] | None = None,
    libraries: dict[str, str] | None = None,
    trained_from: datetime | None = None,
    trained_to: datetime | None = None,
) -> None:
    """Record a decision about a model; a promoted one becomes the champion in the same transaction.

    If the version exists, its record is updated, because training is repeatable. The decision is added to the history
    if it differs from the last one.
    """
    with connection.transaction():
        if decision == "promoted":
            connection.execute(
                "update ml.model_versions set is_champion = false where site_id = %s and target = %s and is_champion",
                [site_id, target],
            )
        connection.execute(
            """
            insert into ml.model_versions as v (
                site_id, target, version, decision, is_champion, reason, algorithm, artifact, artifact_sha256,
                features, metrics, libraries, trained_from, trained_to, history
            ) values (
                %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
                jsonb_build_array(jsonb_build_object('at', now(), 'decision', %s::text, 'reason', %s::text))
            )
            on conflict (site_id, target, version) do update set
                decision = excluded.decision, is_champion = v.is_champion or excluded.is_champion,
                reason = excluded.reason, metrics = excluded.metrics, created_at = now(),
                history = v.history || case
                    when (v.history -> -1) - 'at' = (excluded.history -> -1) - 'at' then '[]' else excluded.history
                end
            """,
            [
                site_id, target, version, decision, decision == "promoted", reason, algorithm, artifact,
                artifact_sha256, _json(features or []), _json(metrics or {}), _json(libraries or {}),
                trained_from, trained_to, decision, reason,
            ],
        )  # fmt: skip


def _json(value: object) -> str:
    """Encode JSON for Postgres; NaN, such as the slope of a constant, becomes null."""
    return msgspec.json.encode(value).decode()


def write_scores(connection: psycopg.Connection, scores: pd.DataFrame) -> int:
    """Replace the scores of the same site, target and `as_of`, in one transaction. Return the number of new scores."""
    with connection.transaction(), connection.cursor() as cursor:
        for site_id, target, as_of in scores[["site_id", "target", "as_of"]].drop_duplicates().itertuples(index=False):
            cursor.execute(
                "delete from ml.propensity_scores where site_id = %s and target = %s and as_of = %s",
                [site_id, target, as_of.to_pydatetime()],
            )
        columns = sql.SQL(", ").join(map(sql.Identifier, SCORE_COLUMNS))
        with cursor.copy(sql.SQL("copy ml.propensity_scores ({}) from stdin").format(columns)) as copy:
            for row in scores[list(SCORE_COLUMNS)].itertuples(index=False):
                copy.write_row([list(value) if isinstance(value, list | tuple) else value for value in row])
    return len(scores)
