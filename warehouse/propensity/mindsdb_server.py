"""Address and login of the MindsDB server that serves models: the owner's server, or the stack's own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from warehouse.kit.settings import Settings

USERNAME = "tilda"
"""The only login of the stack's own server."""


@dataclass(frozen=True)
class MindsDBLogin:
    """Address and login of a server; user name and password are None for a server without logins."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Addresses:
    """Addresses of the stack's own server: its URL, and host and port for MySQL clients."""

    url: str
    mysql: str


def mindsdb_login(settings: Settings) -> MindsDBLogin | None:
    """Return the server to publish models to; None without MINDSDB_URL and a running server of the stack."""
    if settings.mindsdb_url is not None:
        return MindsDBLogin(settings.mindsdb_url, settings.mindsdb_username, settings.mindsdb_password)
    own = own_server(settings)
    return own and MindsDBLogin(own.url, USERNAME, settings.secrets.mindsdb_password)


def own_server(settings: Settings) -> Addresses | None:
    """Return the addresses of the stack's own server; None while it does not run."""
    try:
        return Addresses(**json.loads(_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def announce(settings: Settings, addresses: Addresses) -> None:
    """Write the server's addresses to a file, which processes of the stack read: they may start before the server."""
    path = _file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(addresses)))
    temporary.replace(path)


def withdraw(settings: Settings) -> None:
    """Delete the file with the server's addresses, after the server has ended."""
    _file(settings).unlink(missing_ok=True)


def _file(settings: Settings) -> Path:
    return settings.data_dir / "run" / "mindsdb.json"
