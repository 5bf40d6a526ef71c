"""Parses and writes Postgres connection strings with libpq's own functions.

libpq accepts URLs and `key=value` strings, and a URL may give a parameter twice (`user=` in the query overrides the
user before the host). Our own URL parser could therefore find another login than the one that libpq uses.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, urlencode

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from warehouse.kit.errors import UserError

SECRET_PARAMETERS = frozenset({
    "password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key",
})  # fmt: skip
"""Parameters whose values are never shown."""

CREDENTIALS = SECRET_PARAMETERS | {"passfile", "sslcert", "sslkey", "oauth_client_id", "service"}
"""Parameters that belong to one login and must not be used for another login."""

REMEDY = (
    "Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, percent-encode special characters of the password, and use"
    " only parameters that libpq knows (?sslmode=require, not ?pgbouncer=true)."
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def parameters(address: str, name: str = "The database address") -> dict[str, str]:
    """Parse a connection string with libpq.

    Parameters of a service are included, and a missing user or database is set to libpq's default.

    Args:
        address: A URL (`postgres://` or `postgresql://`) or a `key=value` string.
        name: Name of the string for an error message, such as its setting.

    Raises:
        UserError: The string is invalid or ambiguous. The message does not quote the string, because any part of it
            may be a password.
    """
    scheme = _SCHEME.match(address)
    if scheme and scheme[1] not in {"postgres", "postgresql"}:
        raise UserError(f"{name} begins with {scheme[1]}://, which is not Postgres.", REMEDY)
    try:
        given = {key: str(value) for key, value in conninfo_to_dict(address).items() if value != ""}
    except (psycopg.Error, UnicodeError):
        raise UserError(f"{name} is not a connection string of Postgres.", REMEDY) from None
    if "service" in given:
        given = _of_service(given["service"]) | given
    if (scheme and _looks_misread(given)) or not _ports_are_numbers(given.get("port", "")):
        raise UserError(f"{name} is not a connection string of Postgres.", REMEDY)
    if not {"user", "dbname"} <= given.keys():
        defaults = _defaults()
        given.setdefault("user", defaults["user"])
        given.setdefault("dbname", defaults.get("dbname", given["user"]))
    return given


def _looks_misread(given: dict[str, str]) -> bool:
    """Return True if libpq probably split a URL wrongly at a special character in a password without encoding."""
    others = {key: value for key, value in given.items() if key not in {*SECRET_PARAMETERS, "user"}}
    return (
        any("@" in value for value in others.values())
        or not set("/?#&=").isdisjoint(given.get("user", ""))
        or not set("?#&= ").isdisjoint(given.get("host", ""))
    )


def _ports_are_numbers(ports: str) -> bool:
    """Return True if each port (one per host) is a valid number or empty."""
    return all(port == "" or (port.isdecimal() and 1 <= int(port) <= 65535) for port in ports.split(","))


def _of_service(service: str) -> dict[str, str]:
    """Return the parameters of a service in `pg_service.conf`, which libpq reads only for the service in PGSERVICE."""
    before = os.environ.get("PGSERVICE")
    os.environ["PGSERVICE"] = service
    try:
        return _defaults()
    finally:
        if before is None:
            del os.environ["PGSERVICE"]
        else:
            os.environ["PGSERVICE"] = before


def _defaults() -> dict[str, str]:
    """Return libpq's defaults from the environment variables, without its compiled-in defaults."""
    return {
        option.keyword.decode(): option.val.decode()
        for option in pq.Conninfo.get_defaults()
        if option.val and option.val != option.compiled
    }


def replace(address: str, changes: dict[str, str | None]) -> str:
    """Return the connection string with changed parameters; the value None removes a parameter."""
    changed = parameters(address) | changes
    return make_conninfo("", **{key: value for key, value in changed.items() if value is not None})


def as_url(address: str) -> str:
    """Convert the connection string, including a password, to a URL that libpq and SQLAlchemy both accept.

    Values that one of them cannot parse before the `?`, such as several hosts or unusual names, go into the query.
    """
    given = parameters(address)
    user, password = given.pop("user"), given.pop("password", None)
    login = f"{quote(user, safe='')}{'' if password is None else ':' + quote(password, safe='')}@"
    place = ""
    host = given.get("host", "")
    if _PLAIN.fullmatch(host) or (":" in host and re.fullmatch(r"[0-9A-Fa-f:.]+", host)):
        del given["host"]
        port = given.pop("port", None)
        place = f"{f'[{host}]' if ':' in host else host}{'' if port is None else ':' + port}"
    elif given.get("port", "").isdecimal():
        given["port"] = ",".join([given["port"]] * (host.count(",") + 1))  # SQLAlchemy wants one for each host
    database = ""
    if _PLAIN.fullmatch(given["dbname"]):
        database = given.pop("dbname")
    query = urlencode(given, quote_via=quote, safe="/")
    return f"postgresql://{login}{place}/{database}{'?' + query if query else ''}"


def as_environment(address: str) -> dict[str, str]:
    """Return the parameters as libpq's environment variables, for programs without options for all parameters."""
    names = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.parse(b"") if option.envvar}
    return {names[key]: value for key, value in parameters(address).items() if key in names}
