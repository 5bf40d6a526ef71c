"""A minimal ingest endpoint, the baseline for `bench.ingest`: FastAPI with pydantic, one INSERT and commit per request.

Run it with uvicorn. `DATABASE_URL` is the database URL with the login of the ingest API.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from psycopg.types.json import Json
from psycopg_pool import AsyncConnectionPool
from pydantic import AwareDatetime, BaseModel

from warehouse.events.enrichment import parse_url
from warehouse.events.user_agents import parse_user_agent


class EventBody(BaseModel):
    """An event in a request."""

    event_id: UUID
    event_type: str
    created_at: AwareDatetime
    session_id: UUID
    user_id: str
    page_url: str
    page_title: str
    referrer: str
    target_element: str | None = None
    target_text: str | None = None
    payload: dict[str, Any]


class BatchBody(BaseModel):
    """A request body."""

    sent_at: AwareDatetime
    events: list[EventBody]


pool = AsyncConnectionPool(
    os.environ.get("DATABASE_URL", ""), min_size=4, max_size=8, open=False, kwargs={"prepare_threshold": None}
)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncGenerator[None]:
    await pool.open()
    yield
    await pool.close()


app = FastAPI(lifespan=_lifespan)
_AGENT = parse_user_agent("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0 Safari/537.36")


@app.get("/health")
async def health() -> dict[str, str]:
    """Return 200 when the server is running."""
    return {"status": "ok"}


@app.post("/api/events", status_code=202)
async def events(batch: BatchBody) -> dict[str, int]:
    """Insert the events of one request."""
    rows: list[dict[str, Any]] = []
    for event in batch.events:
        page = parse_url(event.page_url)
        rows.append(
            event.model_dump(mode="json", exclude={"created_at"})
            | {"client_created_at": event.created_at.isoformat(), "sent_at": batch.sent_at.isoformat()}
            | {"site_id": "shop", "source": "api", "page_host": page.host, "page_path": page.path}
            | {"browser": _AGENT.browser, "os": _AGENT.os, "device_type": _AGENT.device_type}
            | {"arrived_at": datetime.now(UTC).isoformat()}
        )
    async with pool.connection() as connection:
        found = await connection.execute("select public.land_events(%s)", [Json(rows)])
        return {"accepted": len(await found.fetchall())}
