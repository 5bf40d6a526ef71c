"""`GET /api/propensity`: visitors' conversion scores for CRMs and marketers, as JSON or CSV."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

import psycopg
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from ingest_api.problems import ProblemError, unavailable
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError

MAX_PAGE = 10_000

_LATEST = "select max(as_of) as as_of from ml.propensity_scores where site_id = %(site)s and target = %(target)s"
_PAGE = """
select user_id, score, decile, band, reasons, model_version, scored_at
from ml.propensity_scores
where
    site_id = %(site)s and target = %(target)s and as_of = %(as_of)s
    and score >= %(min_score)s and (%(band)s::text is null or band = %(band)s)
    and (%(after_score)s::double precision is null or (score, user_id) < (%(after_score)s, %(after_user)s::text))
order by score desc, user_id desc
limit %(limit)s
"""


class Band(StrEnum):
    """How likely a visitor is to convert."""

    HOT = "hot"
    WARM = "warm"
    COLD = "cold"


class Format(StrEnum):
    """Format of the answer."""

    JSON = "json"
    CSV = "csv"


class Score(BaseModel):
    """One visitor's probability to convert."""

    user_id: str
    score: Annotated[float, Field(ge=0, le=1, description="Probability within 7 days of `as_of`.", examples=[0.21])]
    decile: Annotated[int, Field(ge=1, le=10, description="1 is the tenth with the highest scores.")]
    band: Band
    reasons: list[str]
    model_version: str
    scored_at: datetime


class Page(BaseModel):
    """A page of scores, highest first."""

    site_id: str
    target: str
    as_of: datetime | None = Field(description="Time of the scoring; null before the first scoring.")
    scores: list[Score]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


SiteId = Annotated[str, Field(min_length=1, max_length=63)]


class Filter(BaseModel):
    """Query parameters that select scores."""

    site_id: Annotated[SiteId | None, Field(description="The site; required.", examples=["shop"])] = None
    site: Annotated[SiteId | None, Field(description="Former name of `site_id`.", deprecated=True)] = None
    target: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]+$")] = "conversion_7d"
    min_score: Annotated[float, Field(ge=0, le=1, description="Leave out lower scores.")] = 0.0
    band: Band | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="Maximum number of scores on a page.")] = 100
    cursor: Annotated[str | None, Field(max_length=1000, description="`next_cursor` of the previous page.")] = None
    format: Annotated[Format | None, Field(description="Alternatively, send `Accept: text/csv` for CSV.")] = None


@dataclass(frozen=True)
class _Cursor:
    """The position after a page. It includes the time of the scoring, so that all pages come from one scoring."""

    as_of: datetime
    score: float
    user_id: str

    def encode(self) -> str:
        text = json.dumps([self.as_of.isoformat(), self.score, self.user_id])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> _Cursor:
        try:
            as_of, score, user_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(datetime.fromisoformat(as_of), float(score), str(user_id))
            cursor.user_id.encode()
        except (ValueError, TypeError):
            cursor = None
        if cursor is None or cursor.as_of.tzinfo is None or "\x00" in cursor.user_id:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "invalid_cursor",
                "The cursor is invalid. Use next_cursor of an earlier answer.",
            )
        return cursor


def make_router(database_url: str) -> APIRouter:
    """Create the route, which reads with the login of `database_url`."""
    router = APIRouter()

    @router.get(
        "/api/propensity",
        response_model=Page,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    def propensity(  # pyright: ignore[reportUnusedFunction]
        request: Request, wanted: Annotated[Filter, Query()], accept: Annotated[str, Header()] = ""
    ) -> Response:
        """Return scores of a site's newest scoring, highest first. A `Link` header names the next page."""
        page = _read(database_url, _site_of(wanted), wanted)
        headers = {"Cache-Control": "no-store"}
        if page.next_cursor is not None:
            query = urlencode([*_without_cursor(request), ("cursor", page.next_cursor)])
            headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        as_csv = wanted.format is Format.CSV or (wanted.format is None and "text/csv" in accept)
        if as_csv:
            name = f'attachment; filename="propensity-{page.target}.csv"'
            return Response(_csv(page), headers=headers | {"Content-Disposition": name}, media_type="text/csv")
        return JSONResponse(page.model_dump(mode="json"), headers=headers)

    return router


def _without_cursor(request: Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]


def _site_of(wanted: Filter) -> str:
    """Return the site that a request names in `site_id` or `site`.

    Raises:
        ProblemError: The request names no site, or two different sites (422).
    """
    names = {name for name in (wanted.site_id, wanted.site) if name is not None}
    if not names:
        detail = "The site is missing. Add ?site_id= with the site's ID."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "missing_site", detail)
    if len(names) > 1:
        detail = "site_id and its former name site differ; send site_id only."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "conflicting_sites", detail)
    return names.pop()


def _read(database_url: str, site_id: str, wanted: Filter) -> Page:
    cursor = _Cursor.decode(wanted.cursor) if wanted.cursor else None
    values: dict[str, Any] = {
        "site": site_id.replace("\x00", ""),
        "target": wanted.target,
        "min_score": wanted.min_score,
        "band": wanted.band,
        "limit": wanted.limit + 1,
        "after_score": cursor.score if cursor else None,
        "after_user": cursor.user_id if cursor else None,
    }
    try:
        with connect(database_url, application="tilda-private") as connection:
            rows = connection.cursor(row_factory=dict_row)
            latest = rows.execute(_LATEST, values).fetchone()
            as_of: datetime | None = cursor.as_of if cursor else latest["as_of"] if latest else None
            found = rows.execute(_PAGE, values | {"as_of": as_of}).fetchall()
    except (UserError, psycopg.OperationalError):
        raise unavailable("database_away", "The database cannot be reached; try again shortly.", 5) from None
    scores = [Score.model_validate(row) for row in found[: wanted.limit]]
    next_cursor = None
    if as_of is not None and len(found) > wanted.limit:
        next_cursor = _Cursor(as_of, scores[-1].score, scores[-1].user_id).encode()
    return Page(
        site_id=site_id,
        target=wanted.target,
        as_of=as_of,
        scores=scores,
        next_cursor=next_cursor,
    )


def _csv(page: Page) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["site_id", "user_id", "as_of", "score", "decile", "band", "reasons", "model_version", "scored_at"])
    for score in page.scores:
        writer.writerow(
            [
                page.site_id,
                _harmless(score.user_id),
                page.as_of.isoformat() if page.as_of else "",
                score.score,
                score.decile,
                score.band.value,
                _harmless("; ".join(score.reasons)),
                score.model_version,
                score.scored_at.isoformat(),
            ]
        )
    return text.getvalue()


def _harmless(text: str) -> str:
    """Prefix a text that a spreadsheet would run as a formula with a quote: visitor IDs come from the internet."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
