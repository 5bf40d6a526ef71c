"""Where models are served and under which login: a MindsDB server of the owner's, or the one that the stack runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from warehouse.kit.settings import Settings

USERNAME = "tilda"
"""The one login of the server that the stack runs."""


@dataclass(frozen=True)
class MindsDBLogin:
    """An address and a login; a server without logins has neither name nor password."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Addresses:
    """Where the stack's own server answers: its URL, and host and port for MySQL clients."""

    url: str
    mysql: str


def mindsdb_login(settings: Settings) -> MindsDBLogin | None:
    """The server to publish to; None when none was named and the stack runs none."""
    if settings.mindsdb_url is not None:
        return MindsDBLogin(settings.mindsdb_url, settings.mindsdb_username, settings.mindsdb_password)
    own = own_server(settings)
    return own and MindsDBLogin(own.url, USERNAME, settings.secrets.mindsdb_password)


def own_server(settings: Settings) -> Addresses | None:
    """Where the stack's own server answers; None while it does not."""
    try:
        return Addresses(**json.loads(_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def announce(settings: Settings, addresses: Addresses) -> None:
    """Tell every process of the stack where its server answers: it may have come after them."""
    path = _file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(addresses)))
    temporary.replace(path)


def withdraw(settings: Settings) -> None:
    """Say that the stack runs no server any more."""
    _file(settings).unlink(missing_ok=True)


def _file(settings: Settings) -> Path:
    return settings.data_dir / "run" / "mindsdb.json"
