"""Reads the parts of a request that all endpoints need: the public key, the media type and the body."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.types import Receive

from ingest_api.problems import ProblemError

READ_SECONDS = 30
"""Timeout for reading a body, answered with 408, so that slow senders do not hold connections."""

_KEY = re.compile(r"[\x21-\x7e]{1,128}")


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """Read a body, plain or compressed with gzip.

    Args:
        receive: ASGI's receive function.
        headers: The request's headers.
        most: Maximum size in bytes, both compressed and decompressed.

    Raises:
        ProblemError: The body is too large (413), has an unknown encoding (415), is damaged (400), or takes longer
            than `READ_SECONDS` to arrive (408).
        ClientGoneError: The client closed the connection.
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in {b"identity", b"gzip", b"x-gzip", b""}:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "Send the body plain or with Content-Encoding: gzip.",
            headers={"Accept-Encoding": "gzip"},
        )
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > most:
        raise _too_large(most)
    body = await _read(receive, most)
    return body if encoding in {b"identity", b""} else _unpack(body, most)


async def _read(receive: Receive, most: int) -> bytes:
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


def _unpack(body: bytes, most: int) -> bytes:
    """Decompress gzip with one or several members; refuse a body of more than `most` bytes."""
    unpacked = bytearray()
    try:
        while body:
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            unpacked += member.decompress(body, most + 1 - len(unpacked))
            if len(unpacked) > most:
                raise _too_large(most)
            if not member.eof:
                raise _damaged("the data is truncated")
            body = member.unused_data
    except zlib.error as error:
        raise _damaged(str(error)) from None
    return bytes(unpacked)


def _damaged(reason: str) -> ProblemError:
    detail = f"The body cannot be decompressed with gzip: {reason}."
    return ProblemError(HTTPStatus.BAD_REQUEST, "invalid_gzip", detail)


def _too_large(most: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "request_too_large",
        f"The body exceeds {most:,} bytes; send fewer events in one request.",
    )


def require_media_type(headers: Mapping[bytes, bytes], *allowed: bytes) -> None:
    """Refuse a request whose `Content-Type` is not allowed; accept one without a `Content-Type`.

    Raises:
        ProblemError: The media type is not allowed (415).
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
    """Return the site's public key from `?key=` or the header `apikey`.

    Raises:
        ProblemError: The key is missing or malformed (401).
    """
    in_query = _key_in_query(query) if len(query) <= 2048 else None
    key = in_query or headers.get(b"apikey", b"").decode("latin-1")
    if not _KEY.fullmatch(key):
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "missing_key",
            "The site's public key is missing. Add ?key= or the header apikey.",
            headers={"WWW-Authenticate": "apikey"},
        )
    return key
