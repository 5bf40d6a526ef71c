"""The demo's report compares the model in use with the true probabilities of the simulation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from demo.report import model_quality
from warehouse.kit.database import connect
from warehouse.propensity import store

CUTOFF = datetime(2026, 11, 2, 21, tzinfo=UTC)
MODEL = {"n": 4, "roc_auc": 0.7, "brier": 0.2, "log_loss": 0.6, "base_rate": 0.5}


@pytest.fixture
def connection(database_url: str) -> psycopg.Connection:
    connection = connect(database_url)
    connection.execute("set timezone = 'Europe/Moscow'")
    connection.execute(
        "create table marts.visitor_features (site_id text, user_id text, as_of timestamptz, converted_7d boolean)"
    )
    store.record_version(
        connection, site_id="shop", target="conversion_7d", version="v1", decision="promoted", reason="Better.",
        algorithm="boosting", artifact=b"model", artifact_sha256="0" * 64, trained_from=CUTOFF, trained_to=CUTOFF,
        metrics={"chosen": MODEL, "judged_from": CUTOFF.isoformat(), "judged_until": CUTOFF.isoformat()},
    )  # fmt: skip
    return connection


def add(connection: psycopg.Connection, user: str, label: bool | None, days: int = 0, site: str = "shop") -> None:
    connection.execute(
        "insert into marts.visitor_features values (%s, %s, %s, %s)", [site, user, CUTOFF - timedelta(days=days), label]
    )


def test_the_true_probabilities_are_measured_on_the_holdout_period(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    labels = {"a": True, "b": False, "c": True, "d": False}
    for user, label in labels.items():
        add(connection, user, label)
        add(connection, user, not label, days=7)
        add(connection, user, not label, site="blog")
    add(connection, "unknown", None)
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "site_id,user_id,as_of,p_conversion_7d\n"
        + "".join(
            f"shop,{user},{CUTOFF:%Y-%m-%dT%H:%M:%SZ},{p}\n"
            for user, p in {"a": 0.9, "b": 0.1, "c": 0.6, "d": 0.7, "unknown": 0.5}.items()
        )
    )
    table = model_quality(connection, "shop", truth)
    assert table.rows[0] == ("model", "boosting", 4, 0.7, 0.2, 0.6, 0.5)
    name, _, examples, roc_auc, brier, log_loss, base_rate = table.rows[1]
    assert (name, examples, base_rate) == ("best possible", 4, 0.5)
    assert roc_auc == pytest.approx(3 / 4)  # of the four pairs, only c and d are in the wrong order
    assert brier == pytest.approx((0.1**2 + 0.1**2 + 0.4**2 + 0.7**2) / 4)
    assert log_loss == pytest.approx(0.4814, abs=1e-4)  # -(2 ln 0.9 + ln 0.6 + ln 0.3) / 4


def test_without_a_truth_file_only_the_model_is_measured(connection: psycopg.Connection, tmp_path: Path) -> None:
    assert len(model_quality(connection, "shop", tmp_path / "none.csv").rows) == 1


def test_without_a_model_the_report_states_the_reason(connection: psycopg.Connection, tmp_path: Path) -> None:
    table = model_quality(connection, "blog", tmp_path / "none.csv")
    assert (table.title, table.rows) == ("No scores for blog: no model was trained", ())
