"""The two privacy calls: everything that is held about a person, and forgetting it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from ingest_api.problems import ProblemError, unavailable
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings
from warehouse.privacy.erase import Erasure, UnknownSiteError, erase
from warehouse.privacy.export import export

SiteId = Annotated[str, Path(max_length=63, description="Site id.", examples=["shop"])]
UserId = Annotated[
    str, Path(min_length=1, max_length=128, pattern=r"^[^\x00]+$", description="One of the person's visitor ids.")
]


class Held(BaseModel):
    """What one place holds."""

    place: str = Field(description="A table, or what is kept outside the database.", examples=["public.events"])
    what: str = Field(description="What it is, in words.")
    count: int
    rows: list[dict[str, Any]]


class Export(BaseModel):
    """Everything that is held about a person."""

    site_id: str
    exported_at: str
    visitor_ids: list[str] = Field(description="All ids that belong to the person.")
    held: list[Held] = Field(description="Places that hold nothing are left out.")


def make_router(database_url: str, settings: Settings) -> APIRouter:
    """The routes, working with the login of `database_url` (`tilda_privacy`, past a pooler)."""
    router = APIRouter(prefix="/api/sites/{site_id}/users")

    @router.get("/{user_id:path}/export", response_model=Export)
    def export_user(site_id: SiteId, user_id: UserId) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Everything that is held about the person with this visitor id."""
        with _explained():
            return export(database_url, settings, site_id, user_id)

    @router.delete("/{user_id:path}", response_model=Erasure)
    def erase_user(  # pyright: ignore[reportUnusedFunction]
        site_id: SiteId,
        user_id: UserId,
        dry_run: Annotated[bool, Query(description="Count what would be removed, and remove nothing.")] = False,
    ) -> Erasure:
        """Forget the person with this visitor id, everywhere: how much was removed by place, and that nothing is left.

        May take minutes when cold files have to be written anew. Cut short, the same call goes on where it stopped.
        """
        with _explained():
            return erase(database_url, settings, site_id, user_id, dry_run=dry_run)

    return router


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except UnknownSiteError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown_site", str(error)) from None
    except UserError as error:
        raise unavailable("try_again", error.message, 30) from None
    except psycopg.OperationalError:
        raise unavailable("database_away", "The database is away; try again shortly.", 5) from None
