"""`/health`: the process runs. `/ready`: the process can accept events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

import msgspec
from fastapi import Request
from fastapi.responses import Response
from msgspec import Meta

from ingest_api.public import openapi
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.sinks.fallback import FallbackSink
from ingest_api.public.sinks.spool import SpoolSink
from warehouse.events.spool import SpoolError


class Spool(msgspec.Struct):
    """Events on the local disk."""

    rows: int
    bytes: int
    takes_events: bool


class Ready(msgspec.Struct):
    """Whether the API can accept events."""

    ready: bool
    database: Annotated[
        Literal["reachable", "away", "refuses"],
        Meta(description="`away`: unreachable, events are spooled. `refuses`: a login, privilege or table is wrong."),
    ]
    spool: Annotated[Spool | None, Meta(description="Null if the spool cannot be read.")]
    warnings: Annotated[list[str], Meta(description="Problems that the operator should correct, one sentence each.")]


class Health(msgspec.Struct):
    """The process runs."""

    status: Literal["ok"] = "ok"


HEALTH = openapi.describe("Liveness check", answers={200: openapi.json_answer("Alive", Health, Health())})
READY = openapi.describe(
    "Readiness check",
    "Ready while the database stores events, or while it is unreachable and the spool has room.",
    answers={
        200: openapi.json_answer("Ready", Ready, Ready(True, "reachable", Spool(0, 0, True), [])),
        503: openapi.json_answer("Not ready", Ready, Ready(False, "away", Spool(910_000, 1_073_741_824, False), [])),
    },
)


class HealthEndpoints:
    """Answers monitors and load balancers."""

    def __init__(self, sink: FallbackSink, spool: SpoolSink, warnings: OperatorWarnings) -> None:
        self._sink = sink
        self._spool = spool
        self._warnings = warnings

    async def health(self, _: Request) -> Response:
        """Report that the process runs."""
        return _json(Health(), HTTPStatus.OK)

    async def ready(self, _: Request) -> Response:
        """Report whether events can be accepted: Postgres stores them, or is unreachable and the spool has room."""
        await self._sink.check()
        spool = await self._measure_spool()
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
            database, ready = "away", spool is not None and spool.takes_events
        else:
            database, ready = "reachable", True
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(Ready(ready, database, spool, warnings), status)

    async def _measure_spool(self) -> Spool | None:
        try:
            depth = await self._spool.measure()
        except SpoolError:
            return None
        return Spool(depth.rows, depth.size, self._spool.takes_rows)


def _json(answer: msgspec.Struct, status: int) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
