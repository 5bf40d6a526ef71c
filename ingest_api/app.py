"""The public application: it faces the internet and can do one thing in the database, land events.

Run by `python -m ingest_api`, or by `uvicorn ingest_api.app:create_app --factory --no-proxy-headers`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from ingest_api import documentation, problems
from ingest_api.client_address import TrustedProxies
from ingest_api.collector_script import CollectorScript
from ingest_api.edge import Edge
from ingest_api.events_endpoint import EventsEndpoint
from ingest_api.group_commit import GroupCommit
from ingest_api.postgres import Connection
from ingest_api.sites import PostgresAwayError, Sites
from warehouse.errors import UserError
from warehouse.events.schema import Limits
from warehouse.settings import Settings, load_settings

FLUSHERS = 2
"""Flushes at the same time in one process: one is being committed while the next is being sent."""


class _RawRoute(APIRoute):
    """A route whose endpoint takes the request and gives the response itself: nothing is parsed twice."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


class _Service:
    """What lives as long as the process."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._lookup = Connection(url, "tilda-ingest-keys")
        self._landers = [Connection(url, f"tilda-ingest-{number}") for number in range(1, FLUSHERS + 1)]
        self.sites = Sites(self._lookup.site_for_key)
        self.commits = GroupCommit([lander.land for lander in self._landers])
        self.events = EventsEndpoint(
            sites=self.sites,
            commits=self.commits,
            proxies=TrustedProxies(settings.trusted_proxies),
            limits=Limits(settings.max_payload_bytes, settings.max_events_per_request),
            max_request_bytes=settings.max_request_bytes,
        )

    async def is_database_reachable(self) -> bool:
        try:
            await self._lookup.site_for_key("")
        except PostgresAwayError:
            return False
        return True

    async def close(self) -> None:
        await self.commits.stop()
        for connection in [self._lookup, *self._landers]:
            await connection.close()


def create_app() -> ASGIApp:
    """Make the application from the environment.

    Raises:
        UserError: A setting is missing or cannot be used.
    """
    settings = load_settings()
    if settings.database_url is None:
        raise UserError(
            "The ingest API needs DATABASE_URL with the login tilda_ingest.",
            "`tilda up` starts it with that; it never uses the owner's login.",
        )
    # The access log holds keys and addresses; metrics count the requests.
    access_log = logging.getLogger("uvicorn.access")
    access_log.handlers.clear()
    access_log.propagate = False
    service = _Service(settings, settings.database_url)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        service.commits.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(title="Tilda Analytics: ingest API", version="1", lifespan=lifespan, redoc_url=None)
    app.router.route_class = _RawRoute
    problems.install(app)
    _add_routes(app, service)
    return Edge(app)


def _add_routes(app: FastAPI, service: _Service) -> None:
    async def events(request: Request) -> Response:
        return await service.events(request)

    async def health(_: Request) -> Response:
        """The process lives."""
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        """Events can be taken: 200; else 503."""
        reachable = await service.is_database_reachable()
        status = HTTPStatus.OK if reachable else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"ready": reachable, "database": "reachable" if reachable else "away"}, status)

    script = CollectorScript()

    async def collector(request: Request) -> Response:
        """The minified collector."""
        return await script(request)

    post: Callable[..., Callable[[Callable[[Request], Awaitable[Response]]], Any]] = app.post
    post("/api/events", **documentation.EVENTS)(events)
    app.get("/collector.js", **documentation.COLLECTOR)(collector)
    app.get("/health", **documentation.HEALTH)(health)
    app.get("/ready", **documentation.READY)(ready)
