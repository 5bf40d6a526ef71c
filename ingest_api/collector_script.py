"""Serves the collector that websites load."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from warehouse.settings import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "collector" / "dist" / "collector.min.js"
CACHE_SECONDS = 3600


class CollectorScript:
    """The minified collector, read again when its file changes."""

    def __init__(self, path: Path = SCRIPT) -> None:
        self._path = path
        self._changed_at = 0
        self._body = b""
        self._etag = ""

    async def __call__(self, request: Request) -> Response:
        """The script, or 304 when the browser has it."""
        self._read()
        headers = {"ETag": self._etag, "Cache-Control": f"public, max-age={CACHE_SECONDS}"}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self._body, headers=headers, media_type="text/javascript")

    def _read(self) -> None:
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._changed_at:
                self._body = self._path.read_bytes()
                self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:20]}"'
                self._changed_at = changed_at
        except OSError:
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "collector_missing", "The collector is not built: run `make collector`."
            ) from None
