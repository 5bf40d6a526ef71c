"""`GET /api/propensity`: visitors' conversion scores for CRMs and marketers, as JSON or CSV."""

from __future__ import annotations

import base64
import io
import json
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

import psycopg
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from ingest_api.problems import ProblemError, unavailable
from warehouse.kit.database import connect
from warehouse.kit.errors import UserError
from warehouse.propensity.score_files import write_score_page
from warehouse.propensity.scores import ScorePage, ScorePosition, Wanted, page_of_scores

MAX_PAGE = 10_000


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


def _encode(position: ScorePosition) -> str:
    """Return the cursor of a position. It contains the cut-off, so that all pages are of one scoring."""
    text = json.dumps([position.as_of.isoformat(), position.score, position.user_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> ScorePosition:
    """Return the position of a cursor.

    Raises:
        ProblemError: The cursor is invalid (422).
    """
    try:
        as_of, score, user_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        position = ScorePosition(datetime.fromisoformat(as_of), float(score), str(user_id))
        position.user_id.encode()
    except (ValueError, TypeError):
        position = None
    if position is None or position.as_of.tzinfo is None or "\x00" in position.user_id:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid_cursor",
            "The cursor is invalid. Use next_cursor of an earlier answer.",
        )
    return position


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
        site_id = _site_of(wanted)
        found = _read(database_url, site_id, wanted)
        next_cursor = _encode(found.next) if found.next else None
        headers = {"Cache-Control": "no-store"}
        if next_cursor is not None:
            query = urlencode([*_without_cursor(request), ("cursor", next_cursor)])
            headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        as_csv = wanted.format is Format.CSV or (wanted.format is None and "text/csv" in accept)
        if as_csv:
            name = f'attachment; filename="propensity-{wanted.target}.csv"'
            text = io.StringIO()
            write_score_page(text, site_id, found)
            return Response(text.getvalue(), headers=headers | {"Content-Disposition": name}, media_type="text/csv")
        page = Page(
            site_id=site_id,
            target=wanted.target,
            as_of=found.as_of,
            scores=[Score.model_validate(score, from_attributes=True) for score in found.scores],
            next_cursor=next_cursor,
        )
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


def _read(database_url: str, site_id: str, wanted: Filter) -> ScorePage:
    after = _decode(wanted.cursor) if wanted.cursor else None
    selected = Wanted(site_id.replace("\x00", ""), wanted.target, wanted.min_score, wanted.band)
    try:
        with connect(database_url, application="tilda-private") as connection:
            return page_of_scores(connection, selected, limit=wanted.limit, after=after)
    except (UserError, psycopg.OperationalError):
        raise unavailable("database_away", "The database cannot be reached; try again shortly.", 5) from None
