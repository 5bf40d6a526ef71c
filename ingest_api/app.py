"""The public application: it faces the internet and can do one thing in the database, land events.

Run by `python -m ingest_api`, or by `uvicorn ingest_api.app:create_app --factory --no-proxy-headers`.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from ingest_api import documentation, logs, problems
from ingest_api.client_address import TrustedProxies
from ingest_api.collector_script import MODULES, SCRIPT, ScriptEndpoint
from ingest_api.durability import Durability
from ingest_api.edge import Edge
from ingest_api.events_endpoint import EventsEndpoint
from ingest_api.group_commit import GroupCommit
from ingest_api.intake import Intake
from ingest_api.pixel import PixelEndpoint
from ingest_api.postgres import Connection
from ingest_api.rate_limits import RateLimits
from ingest_api.required import required_database_url
from ingest_api.sites import Sites
from ingest_api.status import StatusEndpoints
from ingest_api.supabase import EventsTable, ProfilesTable
from ingest_api.webhook import WebhookEndpoint
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
        lookup, replay = Connection(url, "tilda-ingest-keys"), Connection(url, "tilda-ingest-replay")
        landers = [Connection(url, f"tilda-ingest-{number}") for number in range(1, FLUSHERS + 1)]
        self.profiles = Connection(url, "tilda-ingest-profiles")
        self._connections = [lookup, replay, self.profiles, *landers]
        self.durability = Durability(lookup, replay, settings.spool_folder, settings.spool_max_bytes)
        self.commits = GroupCommit([partial(self.durability.store, lander) for lander in landers])
        self.intake = Intake(
            sites=Sites(self.durability.site_for_key),
            commits=self.commits,
            proxies=TrustedProxies(settings.trusted_proxies),
            rate_limits=RateLimits(
                settings.rate_limit_per_ip, settings.rate_limit_per_site, settings.rate_limit_storage_url
            ),
            limits=Limits(settings.max_payload_bytes, settings.max_events_per_request),
            max_request_bytes=settings.max_request_bytes,
            service_key=settings.service_key,
        )

    async def open(self) -> None:
        await self.durability.start()
        self.commits.start()

    async def close(self) -> None:
        await self.commits.stop()
        await self.durability.stop()
        for connection in self._connections:
            await connection.close()


def create_app() -> ASGIApp:
    """Make the application from the environment.

    Raises:
        UserError: A setting is missing or cannot be used.
    """
    settings = load_settings()
    url = required_database_url(settings)
    logs.configure()
    service = _Service(settings, url)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await service.open()
        _calm_the_collector()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(title="Tilda Analytics: ingest API", version="1", lifespan=lifespan, redoc_url=None)
    app.router.route_class = _RawRoute
    problems.install(app)
    _add_routes(app, service, settings)
    return Edge(app)


def _calm_the_collector() -> None:
    """Look for cycles less often: nearly all that a request makes is freed by reference counts.

    With the defaults the search was a third of the processor time of a request (batches of 10, Python 3.11).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _add_routes(app: FastAPI, service: _Service, settings: Settings) -> None:
    intake = service.intake
    tables = [
        EventsTable(intake),
        ProfilesTable(intake, "sessions", service.profiles),
        ProfilesTable(intake, "users", service.profiles),
    ]
    folder = settings.collector_path.rpartition("/")[0]
    status = StatusEndpoints(service.durability)
    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]], dict[str, Any]]] = [
        ("POST", settings.events_path, EventsEndpoint(intake), documentation.EVENTS),
        ("GET", settings.collector_path, ScriptEndpoint(SCRIPT), documentation.COLLECTOR),
        *(("GET", f"{folder}/{name}", ScriptEndpoint(name), documentation.COLLECTOR_MODULE) for name in MODULES),
        ("GET", settings.pixel_path, PixelEndpoint(intake), documentation.PIXEL),
        ("POST", "/api/webhooks/tilda", WebhookEndpoint(intake, settings.tilda_webhook_token), documentation.WEBHOOK),
        *(("POST", f"/rest/v1/{table.name}", table, documentation.SUPABASE[table.name]) for table in tables),
        *(("GET", f"/rest/v1/{table.name}", table.read, documentation.SUPABASE_READ) for table in tables),
        ("GET", "/health", status.health, documentation.HEALTH),
        ("GET", "/ready", status.ready, documentation.READY),
        ("GET", "/metrics", status.metrics, documentation.METRICS),
    ]
    for method, path, endpoint, description in routes:
        app.add_api_route(path, endpoint, methods=[method], **description)
