"""The visitor's id in a cookie that the server sets: Safari keeps what a script has written for seven days only.

The collector asks for it (`&cookie=1`) when the API has a name under the website's own domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

from ingest_api.public.sites import Site

NAME = "analytics_user_id"
YEAR_SECONDS = 31_536_000
_ID = re.compile(r"[\w.-]{8,128}", re.ASCII)


def visitor_cookie(headers: Mapping[bytes, bytes]) -> str | None:
    """The visitor's id as the request's cookie says it."""
    return read_cookie(headers.get(b"cookie", b"").decode("latin-1"))


def read_cookie(text: str) -> str | None:
    """The visitor's id in a cookie header, or in what Tilda's webhook calls COOKIES."""
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == NAME and _ID.fullmatch(value):
            return value
    return None


def set_cookie(scope: Scope, headers: Mapping[bytes, bytes], site: Site, user_id: str | None) -> str | None:
    """The `Set-Cookie` header to keep the visitor's id for a year; None when this server is not the website's own."""
    if b"cookie=1" not in scope["query_string"].split(b"&"):
        return None
    value = visitor_cookie(headers) or user_id or ""
    host = headers.get(b"host", b"").decode("latin-1").partition(":")[0].lower()
    domain = next((domain for domain in site.domains if host == domain or host.endswith(f".{domain}")), None)
    if domain is None or not _ID.fullmatch(value):
        return None
    cookie: SimpleCookie = SimpleCookie()
    try:
        cookie[NAME] = value
    except CookieError:
        return None
    cookie[NAME].update({"domain": domain, "path": "/", "max-age": str(YEAR_SECONDS), "samesite": "Lax"})
    cookie[NAME]["secure"] = True
    return cookie[NAME].OutputString()
