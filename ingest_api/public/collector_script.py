"""Serves the collector with its site's settings, and its optional modules. Each file is compressed only once."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import brotli
from fastapi import Request
from fastapi.responses import Response

from ingest_api.problems import ProblemError
from ingest_api.public import openapi
from ingest_api.public.operator_warnings import OperatorWarnings
from ingest_api.public.requests import public_key
from ingest_api.public.sites import Site, SiteRegistry
from warehouse.kit.installation import shipped
from warehouse.kit.settings import Settings

FOLDER = shipped("collector/dist")
BASE_BUILD = "collector.base.js"
SHOP_BUILD = "collector.shop.js"
NO_SETTINGS = "({})"
"""The settings at the end of a build, which the site's settings replace."""

MODULE_CACHE = "public, max-age=3600"
VERSIONED_CACHE = "public, max-age=31536000, immutable"
SCRIPT_CACHE = "public, max-age=600, stale-while-revalidate=2400"
"""A browser uses the script for at most 50 minutes, so that changed settings reach all pages within an hour."""
UNKNOWN_KEY_CACHE = "public, max-age=60"
"""For a key that no site has: the site may be added soon."""

MAX_SCRIPTS = 1_000
"""Maximum number of scripts in memory (about 30 KB each); beyond this, the oldest is dropped."""

_Validity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Script:
    """A script in every encoding. `version` is a hash of its text."""

    version: str
    bodies: dict[str, bytes]


_ANSWERS = {200: openapi.plain_answer("The script", "text/javascript"), 304: openapi.plain_answer("Not modified")}
DESCRIPTION = openapi.describe(
    "The collector",
    "Contains the settings of the site that the key names. Without a key, or with an unknown key, it has no settings.",
    answers=_ANSWERS,
    problems=[404],
    parameters=openapi.KEY[:1],
)
MODULE_DESCRIPTION = openapi.describe("An optional module of the collector", answers=_ANSWERS, problems=[404])


def module_paths(collector_path: str, folder: Path = FOLDER) -> dict[str, Path]:
    """Return the file of each optional module by its path under the API.

    A module `collector.NAME.js` is served beside the collector under its own name and, if COLLECTOR_PATH gives the
    collector another name, under that name as well: `/assets/c.NAME.js` for `/assets/c.js`.
    """
    place, _, script = collector_path.rpartition("/")
    stem = script.removesuffix(".js")
    modules = [file for file in sorted(folder.glob("collector.*.js")) if file.name not in {BASE_BUILD, SHOP_BUILD}]
    return {
        f"{place}/{prefix}{file.name.removeprefix('collector')}": file
        for file in modules
        for prefix in ("collector", stem)
    }


class ModuleEndpoint:
    """Serves one optional module, and reads its file again after a change.

    Browsers cache the module for a year if `?v=` names the current version (the first 16 characters of the ETag), else
    for an hour.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cached: tuple[_Validity, _Script] | None = None

    async def __call__(self, request: Request) -> Response:
        """Return the module in the best encoding that the browser accepts; 304 if the browser's copy is current."""
        validity = _validity(self._path)
        if self._cached is None or self._cached[0] != validity:
            self._cached = (validity, _compress(_read(self._path)))
        script = self._cached[1]
        is_versioned = request.query_params.get("v") == script.version
        return _answer(request, script, VERSIONED_CACHE if is_versioned else MODULE_CACHE)


class CollectorEndpoint:
    """Serves the collector: the build with or without the shop, with the site's settings.

    Args:
        sites: Finds the site by the key.
        warnings: Counts unknown keys.
        settings: Paths and the public address.
        folder: Folder of the builds.
    """

    def __init__(
        self, sites: SiteRegistry, warnings: OperatorWarnings, settings: Settings, folder: Path = FOLDER
    ) -> None:
        self._sites = sites
        self._warnings = warnings
        self._folder = folder
        self._common = common_options(settings)
        self._scripts: dict[tuple[str, str | None], tuple[_Validity, _Script]] = {}

    async def __call__(self, request: Request) -> Response:
        """Return the script in the best encoding that the browser accepts; 304 if the browser's copy is current."""
        try:
            site = await self._sites.by_key(public_key(request.scope["query_string"], {}))
        except ProblemError as problem:
            # A script that fails to load cannot be repaired in the page, so the build without settings is served.
            is_missing = problem.code == "missing_key"
            if is_missing:
                self._warnings.missing_key()
            elif problem.code == "unknown_key":
                self._warnings.unknown_key()
            return _answer(request, self._script(None), SCRIPT_CACHE if is_missing else UNKNOWN_KEY_CACHE)
        return _answer(request, self._script(site), SCRIPT_CACHE)

    def _script(self, site: Site | None) -> _Script:
        """Return the site's script from memory; make it again after a change of the settings or the build."""
        build = SHOP_BUILD if site is not None and site.collector.shop else BASE_BUILD
        options = None if site is None else written_options(site_options(site) | self._common)
        validity = _validity(self._folder / build)
        known = self._scripts.get((build, options))
        if known is not None and known[0] == validity:
            return known[1]
        text = _read(self._folder / build)
        script = _compress(text if options is None else with_options(text, options))
        while len(self._scripts) >= MAX_SCRIPTS:
            del self._scripts[next(iter(self._scripts))]
        self._scripts[build, options] = (validity, script)
        return script


def common_options(settings: Settings) -> dict[str, str]:
    """Return the collector's options that are the same for all sites: where the API is.

    Without `endpoint`, the collector sends to the origin of its script, which has no path.
    """
    options = {"path": settings.events_path}
    if settings.public_url and urlsplit(settings.public_url).path:
        options["endpoint"] = settings.public_url
    return options


def site_options(site: Site) -> dict[str, str]:
    """Return the collector's options of a site."""
    return {"siteKey": site.public_key} | site.collector.options()


def written_options(options: Mapping[str, str]) -> str:
    """Return options as a JavaScript object that is also safe inside an HTML script element.

    The text is ASCII, because U+2028 and U+2029 end a line in older engines, and contains no `<`, because `</script>`
    and `<!--` change how HTML is parsed.
    """
    return json.dumps(options, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def with_options(build: str, options: str) -> str:
    """Replace the settings at the end of a build.

    Raises:
        ProblemError: The build has no place for settings (404).
    """
    before, place, after = build.rpartition(NO_SETTINGS)
    if not place:
        raise _not_built()
    return f"{before}({options}){after}"


def _answer(request: Request, script: _Script, cache: str) -> Response:
    """Answer with a script. Each encoding has its own ETag, as RFC 9110 requires."""
    encoding = _best_encoding(request.headers.get("accept-encoding", ""))
    etag = f'"{script.version}"' if encoding == "identity" else f'"{script.version}-{encoding}"'
    headers = {
        "ETag": etag,
        "Cache-Control": cache,
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


def _compress(text: str) -> _Script:
    body = text.encode()
    return _Script(
        hashlib.sha256(body).hexdigest()[:16],
        {"identity": body, "gzip": gzip.compress(body, 9, mtime=0), "br": brotli.compress(body)},
    )


def _validity(path: Path) -> _Validity:
    """Return modification time and size of a file.

    Raises:
        ProblemError: The file does not exist (404).
    """
    try:
        found = path.stat()
    except OSError:
        raise _not_built() from None
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        raise _not_built() from None


def _not_built() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "collector_missing", "The collector is not built: run `make collector`.")


def _best_encoding(accepted: str) -> str:
    offered = {
        name.strip().lower()
        for name, _, quality in (part.partition(";") for part in accepted.split(","))
        if quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    }
    return next((name for name in ("br", "gzip") if name in offered), "identity")
