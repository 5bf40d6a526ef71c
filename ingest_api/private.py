"""The private application: 127.0.0.1 only, a process and logins of its own, nothing shared with the public one.

Run by `python -m ingest_api private`.
"""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, Header

from ingest_api import logs, problems
from ingest_api.problems import ProblemError, documented
from ingest_api.propensity import make_router
from warehouse.errors import UserError
from warehouse.settings import load_settings


class RequireKey:
    """A dependency that lets a request pass only with one of the keys.

    Args:
        keys: Keys that open the door; compared in constant time.
    """

    def __init__(self, *keys: str) -> None:
        self._keys = [key.encode() for key in keys]

    def __call__(
        self, authorization: Annotated[str | None, Header()] = None, apikey: Annotated[str | None, Header()] = None
    ) -> None:
        """Check `Authorization: Bearer …` or `apikey: …`; raises ProblemError 401."""
        scheme, _, token = (authorization or "").partition(" ")
        given = (token.strip() if scheme.lower() == "bearer" else apikey or "").encode()
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            raise ProblemError(
                HTTPStatus.UNAUTHORIZED,
                "key_required",
                "Send the reader key as Authorization: Bearer … .",
                headers={"WWW-Authenticate": "Bearer"},
            )


def create_private_app() -> FastAPI:
    """Make the application from the environment: `DATABASE_URL` with the reader's login, `READER_KEY`.

    Raises:
        UserError: One of them is missing.
    """
    settings = load_settings()
    if settings.database_url is None or settings.reader_key is None:
        raise UserError(
            "The private API needs DATABASE_URL with the login tilda_reader, and READER_KEY.",
            "`tilda up` starts it with both.",
        )
    logs.configure()
    app = FastAPI(title="Tilda Analytics: private API", version="1", redoc_url=None)
    problems.install(app)
    require_reader = RequireKey(*filter(None, [settings.reader_key, settings.service_key]))
    app.include_router(
        make_router(settings.database_url), dependencies=[Depends(require_reader)], responses=documented(401, 422, 503)
    )

    @app.get("/health")
    def health() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        """The process lives."""
        return {"status": "ok"}

    return app
