"""Store and load models with skops, never pickle: the same model always gives the same bytes."""

import hashlib
import json
import platform
import zipfile
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import sklearn
import skops
import skops.io

from ml import serving
from ml.errors import ArtifactError
from ml.model import Propensity

EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Artifact:
    """A stored model: its bytes, their SHA-256 in hex, and the libraries it was made with."""

    content: bytes
    sha256: str
    version: str
    libraries: dict[str, str]


def libraries() -> dict[str, str]:
    """Versions of Python and of the libraries that decide what a model says."""
    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "skops": skops.__version__,
    }


def dumps(model: Propensity) -> Artifact:
    """Store a model. No row of any person is in it: the trial's rows stay behind."""
    record = {
        "kind": model.kind,
        "version": model.version,
        "target": model.target,
        "data_from": model.data_from.isoformat(),
        "data_until": model.data_until.isoformat(),
        "rows": model.rows,
        "positives": model.positives,
        "seed": model.seed,
        "metrics": model.metrics,
        "libraries": libraries(),
    }
    content = encode(model.bundle | {"record": json.dumps(record, sort_keys=True)})
    return Artifact(content, hashlib.sha256(content).hexdigest(), model.version, libraries())


def loads(content: bytes, *, sha256: str | None = None) -> Propensity:
    """Load a stored model after comparing its hash (if given), its types and its scikit-learn.

    Raises:
        ArtifactError: Altered bytes, a type that is not listed, or another scikit-learn.
    """
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ArtifactError(
            "The stored model's bytes do not have the recorded hash; restore them from a backup or train again."
        )
    try:
        bundle = serving.load(content)
    except ValueError as error:
        raise ArtifactError(str(error)) from error
    record: dict[str, Any] = json.loads(bundle.pop("record"))
    return Propensity(
        bundle=bundle,
        kind=record["kind"],
        version=record["version"],
        target=record["target"],
        data_from=datetime.fromisoformat(record["data_from"]),
        data_until=datetime.fromisoformat(record["data_until"]),
        rows=record["rows"],
        positives=record["positives"],
        seed=record["seed"],
        metrics=record["metrics"],
    )


def version(bundle: dict[str, Any], target: str, until: datetime) -> str:
    """A readable name that the model's content decides: target, last day of data, start of the hash."""
    return f"{target}-{until:%Y%m%d}-{hashlib.sha256(encode(bundle)).hexdigest()[:8]}"


def encode(bundle: dict[str, Any]) -> bytes:
    """A bundle as a skops archive, byte for byte repeatable; the comment names the scikit-learn.

    skops numbers objects and names arrays by their address in memory and stamps the time; here they are
    numbered in order of appearance, under one date.
    """
    with zipfile.ZipFile(BytesIO(skops.io.dumps(bundle))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop(serving.SCHEMA))
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}
    _renumber(schema, numbers, names)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.comment = sklearn.__version__.encode("ascii")
        archive.writestr(_member(serving.SCHEMA), json.dumps(schema))
        for old, new in names.items():
            archive.writestr(_member(new), members[old])
    return buffer.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _renumber(node: Any, numbers: dict[int, int], names: dict[str, str]) -> None:  # noqa: ANN401  # any JSON
    if isinstance(node, dict):
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
        if isinstance(node.get("file"), str):
            suffix = node["file"].rpartition(".")[2]
            node["file"] = names.setdefault(node["file"], f"{len(names)}.{suffix}")
        for value in node.values():
            _renumber(value, numbers, names)
    elif isinstance(node, list):
        for value in node:
            _renumber(value, numbers, names)
