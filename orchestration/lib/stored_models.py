"""Load and roll back stored models: `warehouse.propensity` keeps their bytes, and `ml` decodes them."""

from __future__ import annotations

import psycopg

from ml import artifacts
from ml.errors import ArtifactError
from ml.model import Propensity
from warehouse.kit.errors import UserError
from warehouse.propensity import store, versions


def load_champion(connection: psycopg.Connection, site_id: str, target: str) -> Propensity | None:
    """Return the model in use, or None if there is none.

    Raises:
        ArtifactError: The stored model cannot be loaded: its content was altered, or it was made with another version
            of scikit-learn.
    """
    champion = store.champion(connection, site_id, target)
    return None if champion is None else load(connection, champion)


def roll_back(
    connection: psycopg.Connection, site_id: str, target: str, version: str | None, reason: str
) -> versions.RolledBack:
    """Use an earlier model again.

    Args:
        connection: Connection in autocommit mode with the owner's rights.
        site_id: The site.
        target: The target.
        version: The earlier model; None for the one that was promoted before the model in use.
        reason: Stored with the decision.

    Raises:
        UserError: There is no such model, or it cannot be loaded.
    """
    earlier = versions.version_to_go_back_to(connection, site_id, target, version)
    stored = store.find_version(connection, site_id, target, earlier)
    try:
        load(connection, stored)
    except ArtifactError as error:
        raise UserError(
            f"The model {earlier} cannot be used any more: {error}", "Choose another model with --to."
        ) from error
    return versions.roll_back(connection, site_id, target, earlier, reason)


def load(connection: psycopg.Connection, version: store.ModelVersion) -> Propensity:
    """Return the model of a version.

    Raises:
        ArtifactError: The stored model cannot be loaded, as for `load_champion`.
    """
    content = store.artifact(connection, version.site_id, version.target, version.version)
    return artifacts.loads(content, sha256=version.artifact_sha256)
