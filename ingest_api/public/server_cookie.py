"""The visitor ID in a cookie set by the server: Safari deletes a cookie set by a script after seven days.

The collector requests the cookie (`&cookie=1`) if the API's host name belongs to the website's own domain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

from ingest_api.public.sites import Site
from warehouse.events.cookieless import is_cookieless
from warehouse.kit.addresses import is_within

NAME = "analytics_user_id"
YEAR_SECONDS = 31_536_000
_ID = re.compile(r"[\w.-]{8,128}", re.ASCII)


def visitor_cookie(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the visitor ID from the request's cookie, or None."""
    return read_cookie(headers.get(b"cookie", b"").decode("latin-1"))


def read_cookie(text: str) -> str | None:
    """Return the visitor ID from a `Cookie` header or from the field COOKIES of Tilda's webhook, or None."""
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == NAME and _ID.fullmatch(value) and not is_cookieless(value):
            return value
    return None


def set_cookie(scope: Scope, headers: Mapping[bytes, bytes], site: Site, user_id: str | None) -> str | None:
    """Return a `Set-Cookie` header that keeps the visitor ID for a year; None if no cookie is wanted or possible.

    A cookie needs a host name of the API under one of the site's domains.
    """
    if b"cookie=1" not in scope["query_string"].split(b"&"):
        return None
    value = visitor_cookie(headers) or user_id or ""
    host = headers.get(b"host", b"").decode("latin-1").partition(":")[0].lower()
    domain = next((domain for domain in site.domains if is_within(host, [domain])), None)
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
