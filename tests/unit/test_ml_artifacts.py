"""Stored models: unchanged after loading, rejected if altered, foreign or made by another scikit-learn."""

import io
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.neighbors import KNeighborsClassifier

from ml import artifacts, scoring, serving
from ml.errors import ArtifactError
from tests.feature_tables import table, trained


def test_a_loaded_model_predicts_as_before() -> None:
    stored = artifacts.dumps(trained())
    loaded = artifacts.loads(stored.content, sha256=stored.sha256)
    assert np.array_equal(loaded.predict(table()), trained().predict(table()))
    assert (loaded.version, loaded.kind, loaded.data_until) == (
        trained().version,
        trained().kind,
        trained().data_until,
    )
    assert loaded.metrics == json.loads(json.dumps(trained().metrics))
    few = table().drop_duplicates(["user_id", "as_of"]).head(50)
    assert scoring.score(loaded, few).equals(scoring.score(trained(), few))
    assert stored.libraries["scikit-learn"]


def test_storing_is_deterministic_and_contains_no_visitor_ids() -> None:
    stored = artifacts.dumps(trained())
    assert artifacts.dumps(trained()).content == stored.content
    assert artifacts.dumps(artifacts.loads(stored.content)).content == stored.content
    with zipfile.ZipFile(io.BytesIO(stored.content)) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    people = {person.encode() for person in table()["user_id"]}
    assert not people & set(re.findall(rb"v\d{3,}", everything))


def test_altered_bytes_are_rejected() -> None:
    stored = artifacts.dumps(trained())
    with pytest.raises(ArtifactError, match="recorded hash"):
        artifacts.loads(stored.content[:-1] + b"?", sha256=stored.sha256)
    with pytest.raises(ArtifactError, match="no stored model"):
        artifacts.loads(b"not a model at all")


def with_comment(content: bytes, comment: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = comment
    return buffer.getvalue()


def test_a_model_of_another_scikit_learn_is_rejected_with_the_remedy() -> None:
    stored = artifacts.dumps(trained())
    with pytest.raises(ArtifactError, match=r"made by scikit-learn 1\.8\.0 .* install scikit-learn==1\.8\.0"):
        artifacts.loads(with_comment(stored.content, b"1.8.0"))


def test_an_unlisted_type_is_rejected_before_it_is_instantiated() -> None:
    """skops alone would instantiate any scikit-learn class."""
    foreign = skops.io.dumps({"estimators": [KNeighborsClassifier()]})
    with pytest.raises(ArtifactError, match="KNeighborsClassifier"):
        artifacts.loads(foreign)


def test_an_unlisted_function_is_rejected() -> None:
    content = artifacts.dumps(trained()).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        comment = archive.comment
    schema = members[serving.SCHEMA].replace(b'"numpy"', b'"os"', 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment
        for name, value in (members | {serving.SCHEMA: schema}).items():
            archive.writestr(name, value)
    with pytest.raises(ArtifactError, match="types that are not listed"):
        artifacts.loads(buffer.getvalue())


def test_the_mindsdb_engine_predicts_and_keeps_the_index() -> None:
    """MindsDB saves the engine's attributes after training and restores them into another instance to predict."""
    stored = artifacts.dumps(trained())
    row = {"artifact": [stored.content], "artifact_sha256": [stored.sha256], "propensity": [0.0]}
    engine = serving.PropensityModel()
    frame = table().iloc[[5, 3, 9]].astype(object)
    engine.train(pd.DataFrame(row), "propensity")
    again = serving.PropensityModel()
    again.__dict__ = engine.__dict__.copy()
    answer = again.predict(frame)
    assert answer.index.tolist() == [5, 3, 9]
    assert np.array_equal(answer["propensity"], trained().predict(table().iloc[[5, 3, 9]]))
    with pytest.raises(ValueError, match="hash"):
        engine.train(pd.DataFrame(row | {"artifact_sha256": ["0"]}), "propensity")
    with pytest.raises(ValueError, match="exactly one"):
        engine.train(pd.DataFrame(row).head(0), "propensity")
