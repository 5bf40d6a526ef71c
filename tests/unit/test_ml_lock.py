"""MindsDB returns the same predictions only if it runs the library versions that trained the model."""

from tests.locks import pins


def test_mindsdb_and_training_pin_the_same_library_versions() -> None:
    training, serving = pins("requirements.lock"), pins("requirements-mindsdb.lock")
    for name in ("scikit-learn", "skops", "scipy", "numpy"):
        assert training[name] == serving[name]
