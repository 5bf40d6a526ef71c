"""Host names and web addresses that people type: checked, and brought into one form."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from warehouse.kit.errors import UserError

_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_EXAMPLE = "https://stats.example.com"


def host_name(text: str) -> str:
    """A host name or IPv4 address as browsers send it: lower case, punycode, no trailing dot.

    Raises:
        UserError: It is neither; the remedy names the host that was probably meant.
    """
    host = _normal_host(text.strip())
    if host is None:
        raise UserError(f"{text!r} is no host name.", f"Write it as {_guess_host(text.strip()) or 'example.com'}.")
    return host


def is_within(host: str, domains: Iterable[str]) -> bool:
    """Whether a host is one of the domains or a subdomain of one."""
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def public_address(text: str) -> str:
    """The address under which browsers reach the ingest API, without a trailing slash.

    It needs https, because browsers block http requests from https pages. This machine's own address may have http.
    A path is allowed: a reverse proxy may serve the API under a prefix.

    Raises:
        ValueError: It cannot be used; the message is a sentence that says why and what to write.
    """
    address = text.strip()
    if "@" in address:
        raise ValueError("it must not contain a user name or password")  # and the message none either
    scheme, separator, rest = address.partition("://")
    if not separator:
        bare = re.sub(r"^https?:/*", "", address, flags=re.IGNORECASE)
        raise ValueError(f"{text!r} has no scheme; write {f'https://{bare}' if _guess_host(bare) else _EXAMPLE}")
    if scheme.lower() not in {"http", "https"}:
        raise ValueError(f"{text!r} is no web address; write it like {_EXAMPLE}")
    try:
        parts = urlsplit(address)
        host, port = _netloc_host(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError(f"{text!r} is no web address; write it like {_EXAMPLE}") from None
    if host is None:
        raise ValueError(f"{text!r} names no host; write it like {_EXAMPLE}")
    if "?" in rest or "#" in rest:
        raise ValueError(f"{text!r} must end with the host or a path, without ? or #")
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path):
        raise ValueError(f"the path of {text!r} may hold only letters, digits, '.', '_', '~' and '-'")
    if parts.scheme == "http" and not _is_local(host):
        raise ValueError(f"browsers block http from https pages; write https://{rest}")
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"


def is_local_address(url: str) -> bool:
    """Whether an address that `public_address` returned reaches only the machine it is used on."""
    return _is_local(urlsplit(url).hostname or "")


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _netloc_host(host: str) -> str | None:
    """A host as an address names it: IPv6 in brackets."""
    try:
        return f"[{ipaddress.IPv6Address(host)}]"
    except ValueError:
        return _normal_host(host)


def _normal_host(text: str) -> str | None:
    try:
        host = text.lower().removesuffix(".").encode("idna").decode()
    except UnicodeError:
        return None
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        return host if _is_host_name(host) else None


def _guess_host(text: str) -> str | None:
    """The host that was probably meant by an address copied from the browser, a port or a wildcard."""
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname
    except ValueError:
        return None
    return _normal_host((host or "").removeprefix("*."))


def _is_host_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(map(_HOST_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
