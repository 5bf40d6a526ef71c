"""`/docs`: an application's OpenAPI description in Swagger UI, with all assets served by the application."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
ASSETS = "/docs/assets"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def add_docs_page(app: FastAPI) -> None:
    """Serve the page and its assets. Create the application with `docs_url=None`: FastAPI's own page needs a CDN.

    URLs in the page are relative, so that the page also works under a path prefix of a reverse proxy. A Content
    Security Policy limits the page to its own origin.

    Raises:
        ValueError: The application has no OpenAPI description.
    """
    if app.openapi_url is None:
        raise ValueError("the application has no OpenAPI description")
    html = bytes(
        get_swagger_ui_html(
            openapi_url=app.openapi_url.removeprefix("/"),
            title=app.title,
            swagger_js_url=f".{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f".{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f".{ASSETS}/favicon.png",
        ).body
    ).decode()
    headers = {"Content-Security-Policy": _policy(html)}

    async def docs(_: Request) -> Response:
        return HTMLResponse(html, headers=headers)

    app.add_route(PAGE, docs, include_in_schema=False)
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]))


def _policy(html: str) -> str:
    """Return a Content Security Policy that allows this origin and, by hash, the page's inline scripts."""
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(html)]
    scripts = " ".join(["'self'", *(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)])
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
