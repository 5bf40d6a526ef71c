"""Storage of model versions and scores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest

from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.propensity import store, versions
from warehouse.propensity.store import Decision

AS_OF = datetime(2026, 11, 2, tzinfo=UTC)


def scores(**users: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "site_id": "s", "user_id": user, "target": "conversion_7d", "as_of": pd.Timestamp(AS_OF),
                "score": score, "decile": 1, "band": "hot",
                "reasons": ["it's \"quoted\"", "a,b", "тест"], "model_version": "v1",
            }
            for user, score in users.items()
        ]
    )  # fmt: skip


def test_new_scores_replace_old_scores(database_url: str) -> None:
    with connect(database_url) as connection:
        assert store.write_scores(connection, scores(a=0.1, b=0.2)) == 2
        store.write_scores(connection, scores(b=0.3))
        rows = connection.execute("select user_id, score, reasons from ml.propensity_scores").fetchall()
    assert rows == [("b", 0.3, ['it\'s "quoted"', "a,b", "тест"])]


def test_a_promotion_leaves_one_champion(database_url: str) -> None:
    with connect(database_url) as connection:
        for version in ("v1", "v2"):
            store.record_version(
                connection, site_id="s", target="t", version=version, decision="promoted", reason="better",
                artifact=b"model " + version.encode(), artifact_sha256="0",
            )  # fmt: skip
        store.record_version(connection, site_id="s", target="t", version="v3", decision="kept", reason="not better")
        champion = store.champion(connection, "s", "t")
        assert champion is not None
        assert champion.version == "v2"
        assert store.artifact(connection, "s", "t", "v2") == b"model v2"
        with pytest.raises(UserError, match="no artefact"):
            store.artifact(connection, "s", "t", "v3")
        newest = store.newest_version(connection, "s", "t")
        assert newest is not None
        assert (newest.version, newest.decision, newest.is_champion) == ("v3", "kept", False)


def test_training_again_on_the_same_data_keeps_the_champion(database_url: str) -> None:
    with connect(database_url) as connection:
        for decision in ("promoted", "kept"):
            store.record_version(
                connection, site_id="s", target="t", version="v1", decision=decision, reason=decision, artifact=b"m"
            )
        champion = store.champion(connection, "s", "t")
        assert champion is not None
        assert champion.reason == "kept"


def decide(connection: psycopg.Connection, version: str, decision: Decision, reason: str = "because") -> None:
    store.record_version(
        connection, site_id="s", target="t", version=version, decision=decision, reason=reason, artifact=b"m"
    )


def test_decisions_are_kept_with_their_reasons(database_url: str) -> None:
    with connect(database_url) as connection:
        for decision, reason in (("promoted", "first"), ("kept", "no newer week"), ("kept", "no newer week")):
            decide(connection, "v1", decision, reason)
        decide(connection, "v2", "promoted", "better")
        found = versions.decisions(connection, "s")
    assert [(one.version, one.in_use, one.decision, one.reason) for one in found] == [
        ("v2", True, "promoted", "better"),
        ("v1", False, "kept", "no newer week"),
        ("v1", False, "promoted", "first"),
    ]


def test_a_rollback_restores_a_former_model_and_records_the_reason(database_url: str) -> None:
    with connect(database_url) as connection:
        for version, decision in (("v1", "promoted"), ("v2", "promoted"), ("v3", "kept"), ("v4", "promoted")):
            decide(connection, version, decision)
        former = versions.version_to_go_back_to(connection, "s", "t", None)
        assert former == "v2"
        versions.roll_back(connection, "s", "t", former, "odd scores")
        champion = store.champion(connection, "s", "t")
        assert champion is not None
        assert champion.version == "v2"
        assert versions.was_rolled_back(connection, "s", "t", "v4")
        assert not versions.was_rolled_back(connection, "s", "t", "v2")
        newest = versions.decisions(connection, "s")[:2]
        assert {(one.version, one.decision) for one in newest} == {("v4", "rolled_back"), ("v2", "promoted")}
        assert all("odd scores" in one.reason for one in newest)
        assert versions.version_to_go_back_to(connection, "s", "t", "v3") == "v3"
        for version in ("v2", "unheard of"):
            with pytest.raises(UserError, match="no other model of t called"):
                versions.version_to_go_back_to(connection, "s", "t", version)


def test_a_rollback_without_a_former_model_is_rejected(database_url: str) -> None:
    with connect(database_url) as connection:
        with pytest.raises(UserError, match="no model of t in use"):
            versions.version_to_go_back_to(connection, "s", "t", None)
        decide(connection, "v1", "promoted")
        with pytest.raises(UserError, match="has had no other model"):
            versions.version_to_go_back_to(connection, "s", "t", None)


def test_frames_keep_types_nulls_and_order(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(
            """
            create table marts.visitor_features as
            select
                's'::text as site_id, u as user_id, t as as_of, 2::bigint as sessions_28d,
                case when u = 'a' then 1.5::double precision end as days_since_last_conversion,
                case when u = 'a' then 'NA' end as last_utm_source, u = 'a' as converted_7d
            from unnest(array['b', 'a']) as u,
                unnest(array[%(old)s, %(middle)s, %(new)s]::timestamptz[]) as t
            """,
            {"old": AS_OF - timedelta(days=14), "middle": AS_OF - timedelta(days=7), "new": AS_OF},
        )
        frame = store.training_frame(connection, "s", "converted_7d", weeks=2)
        assert store.sites_with_features(connection) == ["s"]
        assert len(store.scoring_frame(connection, "s")) == 2
    assert list(frame["user_id"]) == ["a", "b", "a", "b"]
    assert frame["as_of"].min() == pd.Timestamp(AS_OF - timedelta(days=7))
    assert list(frame["last_utm_source"].head(2).fillna("absent")) == ["NA", "absent"]
    assert list(frame["days_since_last_conversion"].isna()) == [False, True, False, True]
    assert frame["sessions_28d"].dtype == "float64"
    assert list(frame["converted_7d"]) == [True, False, True, False]


def test_nan_and_infinite_metrics_are_stored_as_null(database_url: str) -> None:
    with connect(database_url) as connection:
        store.record_version(
            connection, site_id="s", target="t", version="v", decision="refused", reason="r",
            metrics={"slope": float("nan"), "nested": [float("inf"), 1.5]},
        )  # fmt: skip
        newest = store.newest_version(connection, "s", "t")
    assert newest is not None
    assert newest.metrics == {"slope": None, "nested": [None, 1.5]}
