"""Decisions about model versions, and manual rollback to an earlier version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from warehouse.kit.errors import UserError

ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class VersionDecision:
    """A decision about a model version; `artifact_sha256` is the hash of the stored model, None without one."""

    site_id: str
    target: str
    version: str
    in_use: bool
    at: datetime
    decision: str
    reason: str
    algorithm: str | None
    artifact_sha256: str | None


@dataclass(frozen=True)
class RolledBack:
    """The result of a rollback: `version` is in use instead of `former`."""

    site_id: str
    target: str
    version: str
    former: str


def decisions(connection: psycopg.Connection, site_id: str) -> list[VersionDecision]:
    """Return all decisions about a site's models, newest first."""
    with connection.cursor(row_factory=class_row(VersionDecision)) as cursor:
        return cursor.execute(
            """
            select
                site_id, target, version, is_champion as in_use, (one ->> 'at')::timestamptz as at,
                one ->> 'decision' as decision, one ->> 'reason' as reason, algorithm, artifact_sha256
            from ml.model_versions cross join jsonb_array_elements(history) as one
            where site_id = %s
            order by at desc, target, version
            """,
            [site_id],
        ).fetchall()


def was_rolled_back(connection: psycopg.Connection, site_id: str, target: str, version: str) -> bool:
    """Return True if this version was ever rolled back by hand."""
    row = connection.execute(
        "select history @> jsonb_build_array(jsonb_build_object('decision', %s::text)) from ml.model_versions"
        " where site_id = %s and target = %s and version = %s",
        [ROLLED_BACK, site_id, target, version],
    ).fetchone()
    return row is not None and row[0]


def version_to_go_back_to(connection: psycopg.Connection, site_id: str, target: str, version: str | None) -> str:
    """Return `version` after a check, or by default the version that was promoted before the one in use.

    Raises:
        UserError: The version does not exist, has no stored model, or is in use; or no version is in use.
    """
    rows = connection.execute(
        """
        select version, is_champion, max(one ->> 'at') filter (where one ->> 'decision' = 'promoted') as promoted_at
        from ml.model_versions cross join jsonb_array_elements(history) as one
        where site_id = %s and target = %s and artifact is not null
        group by version, is_champion
        order by promoted_at desc nulls last
        """,
        [site_id, target],
    ).fetchall()
    remedy = f"See: tilda models list --site {site_id}"
    others = {name: promoted for name, in_use, promoted in rows if not in_use}
    if len(others) == len(rows):
        raise _none_in_use(site_id, target)
    if version is None:
        version = next((name for name, promoted in others.items() if promoted is not None), None)
        if version is None:
            raise UserError(f"{site_id} has had no other model of {target}.", remedy)
    elif version not in others:
        raise UserError(f"{site_id} has no other model of {target} called {version}.", remedy)
    return version


def roll_back(connection: psycopg.Connection, site_id: str, target: str, version: str, reason: str) -> RolledBack:
    """Replace the version in use by `version`, and record the reason for both versions, in one transaction.

    The replaced version is not promoted again automatically; a version trained on newer weeks may be.
    """
    with connection.transaction():
        row = connection.execute(
            "select version from ml.model_versions where site_id = %s and target = %s and is_champion for update",
            [site_id, target],
        ).fetchone()
        if row is None:
            raise _none_in_use(site_id, target)
        former = str(row[0])
        for name, in_use, decision, why in (
            (former, False, ROLLED_BACK, reason),
            (version, True, "promoted", f"In place of {former}, which was rolled back: {reason}"),
        ):
            connection.execute(
                "update ml.model_versions set is_champion = %s, decision = %s, reason = %s, history = history ||"
                " jsonb_build_array(jsonb_build_object('at', now(), 'decision', %s::text, 'reason', %s::text))"
                " where site_id = %s and target = %s and version = %s",
                [in_use, decision, why, decision, why, site_id, target, name],
            )
    return RolledBack(site_id, target, version, former)


def _none_in_use(site_id: str, target: str) -> UserError:
    return UserError(f"{site_id} has no model of {target} in use.", "Train one: tilda materialize 'group:ml'")
