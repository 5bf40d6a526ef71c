"""Serves the collector and its optional modules; each file is compressed only once."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import brotli
from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public import openapi
from warehouse.kit.installation import shipped

FOLDER = shipped("collector/dist")
SCRIPT = "collector.shop.js"
MODULES = tuple(
    f"collector.{name}.js"
    for name in (
        "deadClicks", "early", "errors", "fields", "fingerprint", "linker", "media", "notFound", "search", "tagged",
        "vitals",
    )  # fmt: skip
)

CACHE_SECONDS = 3600
VERSIONED_CACHE_SECONDS = 31_536_000


@dataclass(frozen=True, slots=True)
class _Script:
    changed_at: int
    version: str
    bodies: dict[str, bytes]


_ANSWERS = {200: openapi.plain_answer("The script", "text/javascript"), 304: openapi.plain_answer("Not modified")}
DESCRIPTION = openapi.describe("The collector", answers=_ANSWERS, problems=[404])
MODULE_DESCRIPTION = openapi.describe("An optional module of the collector", answers=_ANSWERS, problems=[404])


class ScriptEndpoint:
    """Serves one script, and reads its file again after a change.

    Browsers cache the script for a year if `?v=` names the current version (the first 16 characters of the ETag), else
    for an hour. Each encoding has its own ETag, as RFC 9110 requires.
    """

    def __init__(self, name: str, folder: Path = FOLDER) -> None:
        self._path = folder / name
        self._script: _Script | None = None

    async def __call__(self, request: Request) -> Response:
        """Return the script in the best encoding that the browser accepts; 304 if the browser's copy is current."""
        script = self._read()
        encoding = _best_encoding(request.headers.get("accept-encoding", ""))
        etag = f'"{script.version}"' if encoding == "identity" else f'"{script.version}-{encoding}"'
        seconds = VERSIONED_CACHE_SECONDS if request.query_params.get("v") == script.version else CACHE_SECONDS
        immutable = ", immutable" if seconds == VERSIONED_CACHE_SECONDS else ""
        headers = {
            "ETag": etag,
            "Cache-Control": f"public, max-age={seconds}{immutable}",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if etag in known or "*" in known:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return Response(script.bodies[encoding], headers=headers, media_type="text/javascript")

    def _read(self) -> _Script:
        try:
            changed_at = self._path.stat().st_mtime_ns
            if self._script is None or self._script.changed_at != changed_at:
                body = self._path.read_bytes()
                self._script = _Script(
                    changed_at,
                    hashlib.sha256(body).hexdigest()[:16],
                    {"identity": body, "gzip": gzip.compress(body, 9, mtime=0), "br": brotli.compress(body)},
                )
        except OSError:
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "collector_missing", "The collector is not built: run `make collector`."
            ) from None
        return self._script


def _best_encoding(accepted: str) -> str:
    offered = {
        name.strip().lower()
        for name, _, quality in (part.partition(";") for part in accepted.split(","))
        if quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    }
    return next((name for name in ("br", "gzip") if name in offered), "identity")
