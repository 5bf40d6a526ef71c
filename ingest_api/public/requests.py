"""What the endpoints read from a request: its key, its body within bounds, where it comes from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from starlette.types import Receive

from ingest_api.problems import ProblemError
from ingest_api.public.sites import Site

READ_SECONDS = 30
"""A body that takes longer is given up: slow senders must not hold connections."""

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


class ClientGoneError(Exception):
    """The sender closed the connection before its request was whole."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """Read a body of at most `most` bytes; what exceeds them is never held.

    Raises:
        ProblemError: It is larger (413), encoded (415) or too slow (408).
        ClientGoneError: Nobody waits for an answer.
    """
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > most:
        raise _too_large(most)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded_body", "Send the body without Content-Encoding.")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT, "slow_body", f"The body did not arrive within {READ_SECONDS} seconds."
        ) from None


def _too_large(most: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_too_large", f"A request holds at most {most:,} bytes; send less."
    )


def require_media_type(headers: Mapping[bytes, bytes], *allowed: bytes) -> None:
    """Refuse what a browser form or an encoder of another kind would send.

    Raises:
        ProblemError: 415.
    """
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type and media_type not in allowed:
        wanted = b" or ".join(allowed).decode()
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", f"Send Content-Type: {wanted}.")


@lru_cache(maxsize=4096)
def _key_in_query(query: bytes) -> str | None:
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=50).get("key", [None])[0]
    except ValueError:
        return None


def public_key(query: bytes, headers: Mapping[bytes, bytes]) -> str:
    """The site's public key: `?key=` or the header `apikey`.

    Raises:
        ProblemError: There is none that could be one (401).
    """
    in_query = _key_in_query(query) if len(query) <= 2048 else None
    key = in_query or headers.get(b"apikey", b"").decode("latin-1")
    if not _KEY.fullmatch(key):
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "missing_key",
            "Name the site: add ?key= with its public key, or the header apikey.",
            headers={"WWW-Authenticate": "apikey"},
        )
    return key


def is_foreign(origin: bytes | None, site: Site) -> bool:
    """Whether a browser sent this from a page that is none of the site's.

    A domain covers its subdomains; a site without domains takes any. Requests without an origin come from servers,
    which could claim any: the key alone counts.
    """
    return origin is not None and bool(site.domains) and not _matches(origin, site.domains)


@lru_cache(maxsize=4096)
def _matches(origin: bytes, domains: tuple[str, ...]) -> bool:
    try:
        host = (urlsplit(origin.decode("latin-1")).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)
