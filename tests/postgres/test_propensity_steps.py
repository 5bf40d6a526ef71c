"""The steps of the daily run: count examples, train, decide, monitor, report and score."""

import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from click.testing import CliRunner

from ml.features import CATEGORICAL_NAMES, NUMERIC_NAMES, Target, load_targets
from orchestration.defs.propensity import monitoring, steps
from orchestration.defs.propensity.checks import visitors_behave_as_the_model_learned
from orchestration.lib.warehouse import Warehouse
from tests.feature_tables import trained, visitors
from tilda.cli import cli
from warehouse.kit.database import connect
from warehouse.propensity import store as propensity
from warehouse.sites.registry import ensure_site

CONVERSION = load_targets()["conversion_7d"]
TODAY = pd.Timestamp("2026-11-02", tz="UTC")


def store(connection: psycopg.Connection, frame: pd.DataFrame) -> None:
    kinds = {"site_id": "text", "user_id": "text", "as_of": "timestamptz", CONVERSION.label: "boolean"}
    kinds |= dict.fromkeys(NUMERIC_NAMES, "double precision") | dict.fromkeys(CATEGORICAL_NAMES, "text")
    connection.execute("drop table if exists marts.visitor_features")
    columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    connection.execute(f"create table marts.visitor_features ({columns})")
    text = io.StringIO()
    frame[list(kinds)].to_csv(text, index=False, header=False)
    with connection.cursor() as cursor, cursor.copy("copy marts.visitor_features from stdin (format csv)") as copy:
        copy.write(text.getvalue())


def features(seed: int = 5, **change: float) -> pd.DataFrame:
    """Return twelve weeks with known outcomes, and today's visitors with the features in `change` multiplied."""
    known = visitors(5_000, seed=seed, base=-4)
    today = visitors(600, seed=seed + 1).assign(as_of=TODAY, converted_7d=None)
    changed = today.assign(**{name: today[name] * factor for name, factor in change.items()})
    return pd.concat([known, changed]).drop_duplicates(["user_id", "as_of"])


@pytest.fixture
def connection(database_url: str) -> psycopg.Connection:
    return connect(database_url)


def train(connection: psycopg.Connection, target: Target, folder: Path, least: int = 100) -> steps.TrainingRun:
    return steps.train(connection, "shop", target, min_positives=least, pages=folder)


def test_a_model_is_trained_reported_and_scores_today(connection: psycopg.Connection, tmp_path: Path) -> None:
    store(connection, features())
    counts = steps.count_examples(connection, CONVERSION)
    assert len(counts) == 12
    trained = train(connection, CONVERSION, tmp_path)
    assert trained.summary.decision == "promoted"
    assert trained.summary.unseen_visitors
    assert "Visitors unseen in training" in trained.markdown
    assert "| decile |" in trained.markdown
    page = (tmp_path / "shop-conversion_7d.html").read_text()
    assert "<svg" in page
    assert not any(f">{user}<" in page for user in ("v1", "v2", "v3"))
    scored = steps.score(connection, "shop", CONVERSION)
    assert scored is not None
    assert scored.as_of == TODAY.to_pydatetime()
    assert scored.visitors == connection.execute("select count(*) from ml.propensity_scores").fetchone()[0]  # type: ignore[index]

    unchanged = train(connection, CONVERSION, tmp_path).summary
    assert (unchanged.decision, unchanged.drifted) == ("kept", False)
    store(connection, features(page_views_28d=4.0))
    changed = train(connection, CONVERSION, tmp_path).summary
    assert changed.drifted
    drift = connection.execute("select metrics -> 'drift' from ml.model_versions order by created_at desc").fetchone()
    assert drift is not None
    assert [one["column"] for one in drift[0]][:2] == ["score", "page_views_28d"]


def test_a_rolled_back_model_is_not_promoted_again(
    connection: psycopg.Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    ensure_site(database_url, "shop", ["shop.example"], "UTC")
    frame = features()
    newest = frame.loc[frame["as_of"] < TODAY, "as_of"].max()
    store(connection, frame[frame["as_of"] < newest - timedelta(days=14)])
    first = train(connection, CONVERSION, tmp_path, least=200).summary
    store(connection, frame)
    second = train(connection, CONVERSION, tmp_path, least=200).summary
    assert (first.decision, second.decision) == ("promoted", "promoted")
    assert first.version
    command = ["models", "rollback", "--site", "shop", "--reason", "complaints", "--json"]
    done = json.loads(CliRunner().invoke(cli, command, standalone_mode=False).stdout)
    assert (done["version"], done["former"]) == (first.version, second.version)
    again = train(connection, CONVERSION, tmp_path, least=200).summary
    assert (again.version, again.decision) == (second.version, "kept")
    assert "was rolled back" in again.reason
    scored = steps.score(connection, "shop", CONVERSION)
    assert scored is not None
    assert scored.model_version == first.version
    listed = CliRunner().invoke(cli, ["models", "list", "--site", "shop"]).stdout
    assert re.search(rf"{second.version} +rolled_back +complaints", listed)
    assert re.search(rf"{first.version} +in use +promoted", listed)


def test_wrong_scores_are_detected_before_their_outcomes_are_final(
    connection: psycopg.Connection, database_url: str, tmp_path: Path
) -> None:
    frame = features()
    store(connection, frame)
    version = train(connection, CONVERSION, tmp_path, least=200).summary.version
    today = frame[frame["as_of"] == TODAY]
    champion = replace(trained(), data_until=TODAY - timedelta(days=14))
    came = int((today["days_since_last_conversion"] < 7).sum())
    assert 0 < came < len(today)
    for factor, alarm in ((1.0, False), (3.0, True)):
        a_week_ago = today[["site_id", "user_id"]].assign(
            as_of=TODAY - timedelta(days=7), target=CONVERSION.name, score=min(factor * came / len(today), 1.0),
            decile=5, band="warm", reasons=[[]] * len(today), model_version=version,
        )  # fmt: skip
        propensity.write_scores(connection, a_week_ago)
        found = monitoring.monitor(connection, "shop", CONVERSION, champion, frame[frame["as_of"] < TODAY])
        (early,) = found.early
        assert (early.visitors, early.converted) == (len(today), came)
        assert early.kept != alarm
        assert found.drifted == alarm
        propensity.record_version(
            connection, site_id="shop", target=CONVERSION.name, version=f"times {factor}", decision="kept",
            reason="test", metrics=found.as_metrics(),
        )  # fmt: skip
        result = visitors_behave_as_the_model_learned(Warehouse(database_url=database_url))
        assert result.passed != alarm
        assert (f"expected, {came} observed" in str(result.metadata)) == alarm


def test_too_few_examples_are_reported_and_give_no_scores(connection: psycopg.Connection, tmp_path: Path) -> None:
    store(connection, features())
    decided = train(connection, CONVERSION, tmp_path, least=100_000).summary
    assert decided.decision == "refused"
    assert "100,000 are needed" in decided.reason
    assert steps.score(connection, "shop", CONVERSION) is None


def test_a_custom_goal_is_learned_from_conversions_within_its_horizon(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    frame = features()
    store(connection, frame)
    connection.execute(
        """
        create table marts.conversions as
        select site_id, user_id, 'signup'::text as goal_id, as_of + interval '13 days' as converted_at
        from marts.visitor_features where converted_7d
        """
    )
    connection.execute(
        "insert into marts.conversions select site_id, user_id, 'other', as_of from marts.visitor_features"
    )
    path = tmp_path / "targets.yml"
    path.write_text("signup_14d: {goals: [signup], words: signup, horizon_days: 14, settle_days: 16, weeks: 12}")
    target = load_targets(path)["signup_14d"]
    assert target.horizon == timedelta(days=14)
    counts = {one.as_of: one.positives for one in steps.count_examples(connection, target)}
    assert max(counts) <= (TODAY - timedelta(days=16)).to_pydatetime()
    for as_of, positives in counts.items():
        at = frame[frame["as_of"] == pd.Timestamp(as_of)]
        soon = frame[frame["converted_7d"].eq(True) & (frame["as_of"] <= pd.Timestamp(as_of))]
        soon = soon[soon["as_of"] + timedelta(days=13) > pd.Timestamp(as_of)]
        assert positives == at["user_id"].isin(soon["user_id"]).sum()
    assert train(connection, target, tmp_path).summary.decision == "promoted"
