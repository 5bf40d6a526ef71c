"""Validates and normalizes host names and URLs that people type."""

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
    """Normalize a host name or IPv4 address to the form that browsers send: lower case, punycode, no trailing dot.

    Raises:
        UserError: The text is neither; the remedy suggests a host name.
    """
    host = _normal_host(text.strip())
    if host is None:
        raise UserError(f"{text!r} is not a host name.", f"Write it as {_guess_host(text.strip()) or 'example.com'}.")
    return host


def covering_domain(text: str) -> str:
    """Return the domain that an entry of a site's domains covers with its subdomains: normalized, without `www.`.

    Entries are normalized when a site is changed by a command, but SQL can insert any text. An invalid entry is
    returned as it is and covers no page; leaving it out could open the site to all pages.
    """
    host = text.strip()
    return (_normal_host(host) or host).removeprefix("www.")


def is_within(host: str, domains: Iterable[str]) -> bool:
    """Return True if a host is one of the domains or a subdomain of one."""
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def public_address(text: str) -> str:
    """Validate the URL at which browsers reach the ingest API, and return it without a trailing slash.

    The URL needs https, because browsers block http requests from https pages; a loopback address may have http. A
    path is allowed, because a reverse proxy may serve the API under a prefix.

    Raises:
        ValueError: The URL is invalid; the message contains the remedy.
    """
    address = text.strip()
    if "@" in address:
        raise ValueError("it must not contain a user name or password")  # do not quote the text: it holds a password
    scheme, separator, rest = address.partition("://")
    if not separator:
        bare = re.sub(r"^https?:/*", "", address, flags=re.IGNORECASE)
        raise ValueError(f"{text!r} has no scheme; write {f'https://{bare}' if _guess_host(bare) else _EXAMPLE}")
    if scheme.lower() not in {"http", "https"}:
        raise ValueError(f"{text!r} is not a web address; write it like {_EXAMPLE}")
    try:
        parts = urlsplit(address)
        host, port = _netloc_host(parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not a web address; write it like {_EXAMPLE}") from None
    if host is None:
        raise ValueError(f"{text!r} names no host; write it like {_EXAMPLE}")
    if "?" in rest or "#" in rest:
        raise ValueError(f"{text!r} must end with the host or a path, without ? or #")
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path):
        raise ValueError(f"the path of {text!r} may contain only letters, digits, '.', '_', '~' and '-'")
    if parts.scheme == "http" and not _is_local(host):
        raise ValueError(f"browsers block http from https pages; write https://{rest}")
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"


def is_local_address(url: str) -> bool:
    """Return True if a URL from `public_address` is a loopback address."""
    return _is_local(urlsplit(url).hostname or "")


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _netloc_host(host: str) -> str | None:
    """Normalize a host for a URL: IPv6 in brackets; None if the host is invalid."""
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
    """Guess the host name from a text with a scheme, path, port or wildcard; None if there is none."""
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname
    except ValueError:
        return None
    return _normal_host((host or "").removeprefix("*."))


def _is_host_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(map(_HOST_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
