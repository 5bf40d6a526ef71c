"""Address and login of the MindsDB server that serves models: the owner's server, or the stack's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from warehouse.kit.settings import Settings

USERNAME = "tilda"
"""The only login of the stack's own server."""

LONGEST_NAME = 55
"""Maximum length of a view's name. `ml.mindsdb_publishing` accepts 61 characters and appends `_model` for the model."""


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


def view_name(site_id: str, target: str) -> str:
    """Return the name of the MindsDB view of a site and target; names of different sites differ.

    `propensity_shop` for the target `conversion_7d` of the site `shop`, `purchase_7d_shop` for `purchase_7d`.
    """
    name = f"{'propensity' if target == 'conversion_7d' else target}_{site_id}".replace("-", "_")
    if "_" in site_id or len(name) > LONGEST_NAME:
        return f"{name[: LONGEST_NAME - 7]}_{hashlib.sha256(site_id.encode()).hexdigest()[:6]}"
    return name


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
