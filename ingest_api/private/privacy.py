"""The two privacy endpoints: export a person's data, and erase it."""

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
from warehouse.privacy.erase import Erasure, erase
from warehouse.privacy.export import export
from warehouse.sites.registry import UnknownSiteError

SiteId = Annotated[str, Path(max_length=63, description="Site ID.", examples=["shop"])]
UserId = Annotated[
    str, Path(min_length=1, max_length=128, pattern=r"^[^\x00]+$", description="One of the person's visitor IDs.")
]


class Held(BaseModel):
    """The person's data in one place."""

    place: str = Field(description="A table, or a store outside the database.", examples=["public.events"])
    what: str = Field(description="Description of the data.")
    count: int
    rows: list[dict[str, Any]]


class Export(BaseModel):
    """All data about a person."""

    site_id: str
    exported_at: str
    visitor_ids: list[str] = Field(description="All visitor IDs of the person.")
    held: list[Held] = Field(description="Places that hold data about the person.")


def make_router(database_url: str, settings: Settings) -> APIRouter:
    """Create the routes. `database_url` has the login `tilda_privacy` and does not go through a pooler."""
    router = APIRouter(prefix="/api/sites/{site_id}/users")

    @router.get("/{user_id:path}/export", response_model=Export)
    def export_user(site_id: SiteId, user_id: UserId) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """Export all data about the person with this visitor ID."""
        with _explained():
            return export(database_url, settings, site_id, user_id)

    @router.delete("/{user_id:path}", response_model=Erasure)
    def erase_user(  # pyright: ignore[reportUnusedFunction]
        site_id: SiteId,
        user_id: UserId,
        dry_run: Annotated[
            bool, Query(description="Count the rows that would be removed, without removing them.")
        ] = False,
    ) -> Erasure:
        """Erase all data about the person with this visitor ID.

        The answer counts the removed rows by place and confirms that none are left. The call may take minutes when
        archive files must be rewritten. If it is interrupted, repeat the call: it continues where it stopped.
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
        raise unavailable("database_away", "The database cannot be reached; try again shortly.", 5) from None
