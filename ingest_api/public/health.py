"""`/health` and `/ready`: does the process run, and can it take events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.sinks.fallback import FallbackSink
from ingest_api.public.sinks.spool import SpoolSink
from warehouse.events.spool import SpoolError


class HealthEndpoints:
    """Answers monitors and load balancers."""

    def __init__(self, sink: FallbackSink, spool: SpoolSink, warnings: OperatorWarnings) -> None:
        self._sink = sink
        self._spool = spool
        self._warnings = warnings

    async def health(self, _: Request) -> Response:
        """The process runs."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Events can be taken: Postgres stores them, or cannot be reached while the spool has room."""
        await self._sink.check()
        spool, spool_works = await self._measure_spool()
        warnings = self._warnings.sentences()
        refusal = self._sink.refusal
        if refusal is not None:
            database, ready = "refuses", False
            warnings.insert(
                0,
                f"Postgres refuses to store events ({refusal.sqlstate or 'login failed'}); the ingest API's log has its"
                " message. `tilda migrate` and `tilda db logins` correct tables and logins.",
            )
        elif self._sink.is_away:
            database, ready = "away", spool_works
        else:
            database, ready = "reachable", True
        answer = {"ready": ready, "database": database, "spool": spool, "warnings": warnings}
        return JSONResponse(answer, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _measure_spool(self) -> tuple[dict[str, Any] | None, bool]:
        try:
            depth = await self._spool.measure()
        except SpoolError:
            return None, False
        works = self._spool.takes_rows
        return {"rows": depth.rows, "bytes": depth.size, "takes_events": works}, works
