"""Reads scores: pages for the API and reports, complete exports and advertising audiences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from warehouse.kit.errors import UserError
from warehouse.kit.queries import read_query

SQL_DIR = Path(__file__).parent / "sql"
FETCHED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Wanted:
    """Selects the newest scores of a site and target, from `min_score` up, in one band or all bands (None)."""

    site_id: str
    target: str
    min_score: float = 0.0
    band: str | None = None


@dataclass(frozen=True)
class Score:
    """One visitor's score.

    `expected_value` is the probability of a purchase within seven days times the expected value of an order, in
    `currency`. It is None without scores for purchases or without any order.
    """

    site_id: str
    user_id: str
    target: str
    as_of: datetime
    score: float
    decile: int
    band: str
    reasons: list[str]
    model_version: str
    expected_order_value: float | None
    currency: str | None
    expected_value: float | None


@dataclass(frozen=True)
class VisitorScore:
    """One visitor's score on a page of scores."""

    user_id: str
    score: float
    decile: int
    band: str
    reasons: list[str]
    model_version: str
    scored_at: datetime


@dataclass(frozen=True)
class ScorePosition:
    """The position of a score in a scoring: its cut-off `as_of`, and the score and visitor, which order its pages."""

    as_of: datetime
    score: float
    user_id: str


@dataclass(frozen=True)
class ScorePage:
    """A page of scores, highest first.

    Attributes:
        as_of: Cut-off of the scoring; None before the first scoring.
        scores: The scores.
        next: Position of the last score; None on the last page.
    """

    as_of: datetime | None
    scores: list[VisitorScore]
    next: ScorePosition | None


@dataclass(frozen=True)
class AudienceMember:
    """Hashed identifiers of a person who consented to advertising: SHA-256 in lower-case hex."""

    email_sha256: str | None
    phone_sha256: str | None
    score: float


def order_values(site_id: str, before: sql.Composable) -> sql.Composed:
    """Return a query for expected order values: columns user_id (null for all others), currency, order_value."""
    return sql.SQL(read_query(SQL_DIR, "order_values")).format(site=sql.Literal(site_id), before=before)


def page_of_scores(
    connection: psycopg.Connection, wanted: Wanted, *, limit: int, after: ScorePosition | None = None
) -> ScorePage:
    """Return a page of a site's newest scores, or the page after a position, which is of the position's scoring.

    Args:
        connection: A connection whose login may read `ml.propensity_scores`.
        wanted: Selects the scores.
        limit: Maximum number of scores.
        after: `next` of the page before; None for the first page.
    """
    as_of = after.as_of if after else _newest_cut_off(connection, wanted)
    if as_of is None:
        return ScorePage(None, [], None)
    query = _query(
        "score_page",
        wanted,
        sql.Literal(as_of),
        after_score=sql.Literal(after and after.score),
        after_user=sql.Literal(after and after.user_id),
        limit=sql.Literal(limit + 1),
    )
    with connection.cursor(row_factory=class_row(VisitorScore)) as cursor:
        found = cursor.execute(query).fetchall()
    scores = found[:limit]
    following = ScorePosition(as_of, scores[-1].score, scores[-1].user_id) if len(found) > limit else None
    return ScorePage(as_of, scores, following)


def newest_scores(connection: psycopg.Connection, wanted: Wanted) -> Iterator[Score]:
    """Yield scores, highest first, in batches of `FETCHED_AT_ONCE` to bound memory.

    Raises:
        UserError: There are no scores; the message contains the reason.
    """
    as_of = sql.Literal(_newest(connection, wanted))
    return _stream(connection, _query("newest_scores", wanted, as_of, order_values=order_values(wanted.site_id, as_of)))


def audience(connection: psycopg.Connection, wanted: Wanted, *, consent: str) -> list[AudienceMember]:
    """Return people whose last answer in the trait or form field `consent` was yes, if an e-mail or phone is known.

    Raises:
        UserError: There are no scores; or no scored visitor has a trait or form field of this name, and the remedy
            lists the names with yes or no.
    """
    as_of = sql.Literal(_newest(connection, wanted))
    query = _query("audience", wanted, as_of, consent=sql.Literal(consent))
    with connection.cursor(row_factory=class_row(AudienceMember)) as cursor:
        people = cursor.execute(query).fetchall()
    if not people:
        _require_consent(connection, wanted, as_of, consent)
    return people


def _require_consent(connection: psycopg.Connection, wanted: Wanted, as_of: sql.Literal, consent: str) -> None:
    """Raise an error if no visitor answered `consent`. If all answers are no, the audience is empty, without error."""
    known: dict[str, int] = dict(connection.execute(_query("consents", wanted, as_of)).fetchall())
    if consent in known:
        return
    listed = ", ".join(f"{name} {visitors:,}" for name, visitors in known.items())
    raise UserError(
        f"No scored visitor of {wanted.site_id} has answered {consent!r} with yes or no.",
        f"Visitors who answered yes or no, by name: {listed}."
        if known
        else "No trait of identify() and no form field listed in data-form-fields holds a yes or no.",
    )


def _stream(connection: psycopg.Connection, query: sql.Composed) -> Iterator[Score]:
    with connection.transaction(), connection.cursor("scores", row_factory=class_row(Score)) as cursor:
        cursor.itersize = FETCHED_AT_ONCE
        yield from cursor.execute(query)


def _query(name: str, wanted: Wanted, as_of: sql.Literal, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(read_query(SQL_DIR, name)).format(
        site=sql.Literal(wanted.site_id),
        target=sql.Literal(wanted.target),
        as_of=as_of,
        min_score=sql.Literal(wanted.min_score),
        band=sql.Literal(wanted.band),
        **parts,
    )


def _newest_cut_off(connection: psycopg.Connection, wanted: Wanted) -> datetime | None:
    row = connection.execute(
        "select max(as_of) from ml.propensity_scores where site_id = %s and target = %s",
        [wanted.site_id, wanted.target],
    ).fetchone()
    return row[0] if row else None


def _newest(connection: psycopg.Connection, wanted: Wanted) -> datetime:
    as_of = _newest_cut_off(connection, wanted)
    if as_of is not None:
        return as_of
    why = connection.execute(
        "select reason from ml.model_versions where site_id = %s and target = %s order by created_at desc limit 1",
        [wanted.site_id, wanted.target],
    ).fetchone()
    raise UserError(
        f"There are no scores of {wanted.target} for {wanted.site_id}{': ' + why[0].rstrip('.') if why else ''}.",
        "" if why else "Train and score: tilda materialize 'group:ml'",
    )
