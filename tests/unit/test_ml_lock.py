"""MindsDB answers as scikit-learn does only with the same libraries."""

from tests.locks import pins


def test_mindsdb_runs_the_libraries_that_models_are_made_with() -> None:
    ours, theirs = pins("requirements.lock"), pins("requirements-mindsdb.lock")
    for name in ("scikit-learn", "skops", "scipy", "numpy"):
        assert ours[name] == theirs[name]
