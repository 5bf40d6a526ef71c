"""The private application: listens on 127.0.0.1, with its own process and its own database logins.

`python -m ingest_api private` runs it.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import Response
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from ingest_api import logs, problems
from ingest_api.docs_page import add_docs_page
from ingest_api.private import metrics_page, privacy, propensity
from ingest_api.problems import ProblemError, documented
from warehouse.kit.errors import UserError
from warehouse.kit.settings import load_settings


class RequireKey:
    """A dependency that refuses a request without a valid key.

    Args:
        name: Name of the key for the error message.
        keys: The valid keys; compared in constant time.
    """

    def __init__(self, name: str, *keys: str) -> None:
        self._name = name
        self._keys = [key.encode() for key in keys]

    def __call__(
        self,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
        apikey: Annotated[str | None, Depends(APIKeyHeader(name="apikey", auto_error=False))],
    ) -> None:
        """Check `Authorization: Bearer …` or `apikey: …`.

        Raises:
            ProblemError: 401, the key is missing or wrong.
        """
        given = (bearer.credentials if bearer is not None else apikey or "").encode()
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "key_required",
                f"Send the {self._name} as Authorization: Bearer … .",
                headers={"WWW-Authenticate": "Bearer"},
            )


def create_app() -> FastAPI:
    """Create the application from the environment.

    `DATABASE_URL` holds the login that reads scores; `READER_KEY` protects that endpoint. `DATABASE_DIRECT_URL` holds
    the login that exports and erases a person's data; `SERVICE_KEY` protects those endpoints.

    Raises:
        UserError: One of these settings is missing.
    """
    settings = load_settings()
    reader_url, privacy_url = settings.database_url, settings.database_direct_url
    if reader_url is None or privacy_url is None or settings.reader_key is None or settings.service_key is None:
        raise UserError(
            "The private API needs DATABASE_URL with the login tilda_reader, DATABASE_DIRECT_URL with tilda_privacy,"
            " READER_KEY and SERVICE_KEY.",
            "`tilda up` starts it with all of them.",
        )
    logs.configure()
    app = FastAPI(title="Tilda Analytics: private API", version="1", docs_url=None, redoc_url=None)
    add_docs_page(app)
    problems.install(app)
    require_reader = RequireKey("reader key", settings.reader_key, settings.service_key)
    app.include_router(
        propensity.make_router(reader_url), dependencies=[Depends(require_reader)], responses=documented(401, 422, 503)
    )
    require_owner = RequireKey("service key", settings.service_key)
    app.include_router(
        privacy.make_router(privacy_url, settings),
        dependencies=[Depends(require_owner)],
        responses=documented(401, 404, 422, 503),
    )

    @app.get("/health")
    def health() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """Report that the process runs."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        """Return counters and gauges of the public application, for Prometheus."""
        return Response(metrics_page.exposition(settings.metrics_folder), media_type=metrics_page.MEDIA_TYPE)

    return app
