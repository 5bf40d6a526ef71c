"""A connection to MindsDB: mindsdb_sdk's, with a time-out on every call and one kind of error."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import requests
from mindsdb_sdk.connectors.rest_api import RestAPI
from requests.adapters import HTTPAdapter

from ml.errors import MindsDBError

PROJECT = "mindsdb"
COMPLETE = "complete"


@dataclass(frozen=True)
class Server:
    """Address and login of MindsDB; ``timeout`` limits each call, ``load_timeout`` the loading of a model (seconds)."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    load_timeout: float = 300.0


@dataclass(frozen=True)
class Version:
    """One version of a model in MindsDB."""

    number: int
    active: bool
    status: str
    error: str
    query: str


class Client:
    """What publishing needs of a server."""

    def __init__(self, server: Server) -> None:
        """Connect and log in.

        Raises:
            MindsDBError: The server is away or refuses the login.
        """
        self.server = server
        self._api = RestAPI(server.url.rstrip("/"), is_managed=True)
        for scheme in ("http://", "https://"):
            self._api.session.mount(scheme, _TimeoutAdapter(server.timeout))
        with self._mindsdb_errors():
            if server.username:
                self._api.username, self._api.password = server.username, server.password
                self._api.login()
            self._api.status()

    def sql(self, statement: str) -> pd.DataFrame:
        """Run a statement; its rows with lower-case column names, or an empty frame.

        Raises:
            MindsDBError: As ``publish``.
        """
        with self._mindsdb_errors():
            answer = self._api.sql_query(statement, lowercase_columns=True)
        return pd.DataFrame() if answer is None else answer

    def put_engine(self, name: str, code: str) -> None:
        """Upload an engine that runs inside the server; the SDK cannot send its type."""
        with self._mindsdb_errors():
            answer = self._api.session.put(
                f"{self._api.url}/api/handlers/byom/{name}",
                files={"code": ("serving.py", code), "modules": ("requirements.txt", "")},
                data={"type": "inhouse"},
            )
            answer.raise_for_status()

    def versions(self, model: str) -> list[Version]:
        """The versions of a model, oldest first; none when it does not exist."""
        rows = self.sql(f"SELECT * FROM {PROJECT}.models WHERE name = '{model}' AND active IN (true, false)")  # noqa: S608  # our own names
        found = [
            Version(
                number=int(row["version"]),
                active=bool(row["active"]),
                status=str(row["status"]),
                error="" if pd.isna(row["error"]) else str(row["error"]),
                query=str(row["select_data_query"] or ""),
            )
            for row in rows.to_dict("records")
        ]
        return sorted(found, key=lambda version: version.number)

    @contextmanager
    def _mindsdb_errors(self) -> Generator[None]:
        url = self.server.url
        try:
            yield
        except requests.Timeout as error:
            raise MindsDBError(
                f"MindsDB at {url} did not answer within {self.server.timeout:.0f} s; try again when it is less busy."
            ) from error
        except requests.ConnectionError as error:
            raise MindsDBError(f"MindsDB at {url} is not reachable; start it, or correct MINDSDB_URL.") from error
        except requests.HTTPError as error:
            answer = error.response
            code = answer.status_code if answer is not None else "an error"
            if code in {401, 403}:
                raise MindsDBError(
                    f"MindsDB at {url} refuses the login; correct MINDSDB_USERNAME and MINDSDB_PASSWORD."
                ) from error
            raise MindsDBError(f"MindsDB at {url} answered {code}: {str(error)[:300]}") from error
        except (RuntimeError, KeyError, TypeError, requests.RequestException) as error:
            raise MindsDBError(f"MindsDB at {url} refused a statement: {error}") from error


class _TimeoutAdapter(HTTPAdapter):
    """Gives every request a time-out; the SDK gives none."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send with the time-out, whatever the caller asked for."""
        return super().send(request, *args, **(options | {"timeout": self.timeout}))
