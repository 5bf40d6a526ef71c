"""What operators ask: does it live, can it take events, how much passed."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from ingest_api import metrics
from ingest_api.public.sinks.fallback import Durability
from warehouse.events.spool import SpoolError


class StatusEndpoints:
    """`/health`, `/ready`, `/metrics`."""

    def __init__(self, durability: Durability) -> None:
        self._durability = durability

    async def health(self, _: Request) -> Response:
        """The process lives."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Events can be taken: the database is reachable, or the spool has room."""
        durability = self._durability
        reachable = await durability.is_reachable()
        try:
            depth = await durability.measure()
        except SpoolError:
            spool, spool_works = None, False
        else:
            spool_works = durability.spool_works
            spool = {"rows": depth.rows, "bytes": depth.size, "takes_events": spool_works}
        ready = reachable or spool_works
        return JSONResponse(
            {"ready": ready, "database": "reachable" if reachable else "away", "spool": spool},
            HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def metrics(self, _: Request) -> Response:
        """Counters and gauges for Prometheus."""
        return Response(metrics.exposition(), media_type=metrics.MEDIA_TYPE)
