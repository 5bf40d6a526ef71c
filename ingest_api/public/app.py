"""The public application: it faces the internet, so its database login may only insert events.

`python -m ingest_api public` runs it.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from ingest_api import logs, problems
from ingest_api.docs_page import add_docs_page
from ingest_api.public import collector_script, events, health, pixel, tilda_webhook
from ingest_api.public.adapters import postgrest
from ingest_api.public.adapters.supabase import EventsTable, ProfilesTable
from ingest_api.public.client_address import TrustedProxies
from ingest_api.public.collector_script import CollectorEndpoint, ModuleEndpoint, module_paths
from ingest_api.public.daily_salts import DailySalts, read_salt
from ingest_api.public.database import Connection
from ingest_api.public.events import EventsEndpoint
from ingest_api.public.health import HealthEndpoints
from ingest_api.public.middleware import OuterMiddleware
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.pipeline import Pipeline
from ingest_api.public.pixel import PixelEndpoint
from ingest_api.public.rate_limits import RateLimits
from ingest_api.public.refused_origins import RefusedOrigins
from ingest_api.public.required import required_database_url
from ingest_api.public.sinks.fallback import FallbackSink
from ingest_api.public.sinks.group_commit import GroupCommit
from ingest_api.public.sinks.postgres import PostgresSink
from ingest_api.public.sinks.spool import SpoolSink
from ingest_api.public.sites import SiteRegistry, read_sites
from ingest_api.public.tilda_webhook import WebhookEndpoint
from warehouse.events.schema import Limits
from warehouse.events.user_agents import UserAgents
from warehouse.kit.settings import Settings, load_settings

FLUSHERS = 2
"""Concurrent flushes in one process: one is committed while the next one is sent."""

Endpoint = Callable[[Request], Awaitable[Response]]


class _RawRoute(APIRoute):
    """A route whose endpoint takes the request and returns the response.

    This bypasses FastAPI's dependency injection and body parsing, which cost more than storing an event (measured on
    one machine: 30,000 events/s with pydantic bodies, 46,000 events/s with this route). Each endpoint's module
    therefore provides its own OpenAPI description.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


class _Service:
    """The objects that exist as long as the process."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._lookup = Connection(url, "tilda-ingest-sites")
        self.profiles = Connection(url, "tilda-ingest-profiles")
        self._postgres = PostgresSink(url, FLUSHERS)
        self._replay = PostgresSink(url, 1, "tilda-ingest-replay")
        self.spool = SpoolSink(settings.spool_folder, settings.spool_max_bytes)
        self.sink = FallbackSink(self._postgres, self._replay, self.spool)
        self._commits = GroupCommit(self.sink, FLUSHERS)
        self._sites = SiteRegistry(
            load=partial(self._lookup.run, read_sites), restore=self.spool.kept_sites, keep=self.spool.keep_sites
        )
        self._salts = DailySalts(partial(self._lookup.run, read_salt))
        self._refused_origins = RefusedOrigins(Connection(url, "tilda-ingest-origins"))
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.warnings = OperatorWarnings()
        self.pipeline = Pipeline(
            sites=self._sites,
            proxies=self.proxies,
            rate_limits=RateLimits(
                settings.rate_limit_per_ip, settings.rate_limit_per_site, settings.rate_limit_storage_url
            ),
            limits=Limits(settings.max_payload_bytes, settings.max_events_per_request),
            user_agents=UserAgents(settings.bot_exceptions),
            max_request_bytes=settings.max_request_bytes,
            service_key=settings.service_key,
            sink=self._commits,
            refused_origins=self._refused_origins,
            warnings=self.warnings,
            salts=self._salts,
        )

    async def open(self) -> None:
        await self.spool.open()
        await self._sites.start()
        self.sink.start()
        self._commits.start()
        self._refused_origins.start()

    async def close(self) -> None:
        await self._commits.stop()
        await self.sink.stop()
        await self._sites.stop()
        await self._salts.stop()
        await self._refused_origins.stop()
        await self.spool.close()
        for closing in (self._lookup, self.profiles, self._postgres, self._replay):
            await closing.close()


def create_app() -> ASGIApp:
    """Create the application from the environment.

    Raises:
        UserError: A setting is missing or invalid.
    """
    settings = load_settings()
    url = required_database_url(settings)
    logs.configure()
    service = _Service(settings, url)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await service.open()
        _tune_garbage_collection()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(title="Tilda Analytics: ingest API", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.router.route_class = _RawRoute
    problems.install(app)
    _add_routes(app, service, settings)
    add_docs_page(app)  # last: every request is compared with the routes before its own
    return OuterMiddleware(app, service.proxies, service.warnings)


def _tune_garbage_collection() -> None:
    """Run the cyclic garbage collector less often: reference counting frees nearly all objects of a request.

    With the defaults, the collector took a third of a request's CPU time (batches of 10 events, Python 3.11).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _add_routes(app: FastAPI, service: _Service, settings: Settings) -> None:
    pipeline = service.pipeline
    tables = [
        EventsTable(pipeline),
        ProfilesTable(pipeline, "sessions", service.profiles),
        ProfilesTable(pipeline, "users", service.profiles),
    ]
    collector = CollectorEndpoint(pipeline.sites, service.warnings, settings)
    modules = module_paths(settings.collector_path)
    health_endpoints = HealthEndpoints(service.sink, service.spool, service.warnings)
    webhook = WebhookEndpoint(pipeline, settings.tilda_webhook_token)
    routes: list[tuple[str, str, Endpoint, dict[str, Any]]] = [
        ("POST", settings.events_path, EventsEndpoint(pipeline), events.DESCRIPTION),
        ("GET", settings.collector_path, collector, collector_script.DESCRIPTION),
        *(("GET", path, ModuleEndpoint(file), collector_script.MODULE_DESCRIPTION) for path, file in modules.items()),
        ("GET", settings.pixel_path, PixelEndpoint(pipeline), pixel.DESCRIPTION),
        ("POST", "/api/webhooks/tilda", webhook, tilda_webhook.DESCRIPTION),
        *(("POST", f"/rest/v1/{table.name}", table, table.description) for table in tables),
        ("GET", "/health", health_endpoints.health, health.HEALTH),
        ("GET", "/ready", health_endpoints.ready, health.READY),
    ]
    for method, path, endpoint, description in routes:
        app.add_api_route(path, endpoint, methods=[method], **description)
        if method == "GET":  # uvicorn leaves out the body of an answer to HEAD
            app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    _add_postgrest_refusals(app, tables)


def _add_postgrest_refusals(app: FastAPI, tables: Sequence[postgrest.Table]) -> None:
    """Add the routes that a Supabase client may call but the public key may not use."""
    refused = ["GET", "HEAD", "PUT", "PATCH", "DELETE"]
    for table in tables:
        app.add_api_route(f"/rest/v1/{table.name}", table.refuse, methods=["GET"], **postgrest.REFUSAL)
        app.add_api_route(f"/rest/v1/{table.name}", table.refuse, methods=refused, include_in_schema=False)
    for path, endpoint in (
        ("/rest/v1/rpc/{name:path}", postgrest.unknown_function),
        ("/rest/v1/{name:path}", postgrest.unknown_table),
    ):
        app.add_api_route(path, endpoint, methods=["POST", *refused], include_in_schema=False)
