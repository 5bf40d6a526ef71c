"""Opens connections, and returns the database address for each part of the platform."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import errors, sql

from warehouse.kit import conninfo
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings

MAIN_DATABASE = "tilda"
DAGSTER_DATABASE = "dagster"
INGEST_LOGIN = "tilda_ingest"
READER_LOGIN = "tilda_reader"
PRIVACY_LOGIN = "tilda_privacy"
# psycopg's and libpq's text before the reason. It is removed, because our message already contains the address.
_PREFIX = re.compile(r"^connection (?:failed|is bad): (?:connection to server .*? failed: )?")


class ConnectionFailedError(UserError):
    """The server cannot be reached or refuses the login; `reason` is the server's or libpq's message."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"Postgres at {address} does not accept a connection: {reason}.",
            "Start it with `tilda up`, or check DATABASE_URL.",
        )
        self.reason = reason


def connect(url: str, *, autocommit: bool = True, application: str = "tilda") -> psycopg.Connection:
    """Open a connection, without prepared statements, so that it works through a transaction pooler.

    Raises:
        ConnectionFailedError: The server cannot be reached or refuses the login. The message contains no password.
        UserError: The address is not a connection string.
    """
    shown = without_password(url)
    try:
        return psycopg.connect(
            url,
            autocommit=autocommit,
            prepare_threshold=None,
            connect_timeout=10,
            application_name=application,
        )
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines() or ["no answer"]
        raise ConnectionFailedError(shown, _PREFIX.sub("", " ".join(said[0].split())).rstrip(".")) from error


def without_password(url: str) -> str:
    """Return the address as a URL without secrets, for display."""
    return conninfo.as_url(conninfo.replace(url, dict.fromkeys(conninfo.SECRET_PARAMETERS)))


def replace_in_url(
    url: str, *, user: str | None = None, password: str | None = None, database: str | None = None
) -> str:
    """Return a `key=value` connection string for another login or database on the same server.

    With another login, the credentials of the old login (password, password file, client certificate) are removed. A
    tenant suffix of the user name (`postgres.abcd`, as in Supabase's pooler) is kept.
    """
    changes: dict[str, str | None] = {}
    if user is not None:
        _, dot, tenant = conninfo.parameters(url)["user"].partition(".")
        changes |= dict.fromkeys(conninfo.CREDENTIALS) | {"user": f"{user}{dot}{tenant}", "password": password}
    if database is not None:
        changes["dbname"] = database
    return conninfo.replace(url, changes)


def url_with_passfile(url: str, passfile: Path) -> str:
    """Write the password of `url` to a password file with mode 0600, and return an address without the password.

    libpq reads the password from the file.
    """
    given = conninfo.parameters(url)
    if "password" not in given:
        return without_password(url)

    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace(":", "\\:")

    line = ":".join(["*", "*", "*", escape(given["user"]), escape(given["password"])])
    passfile.parent.mkdir(parents=True, exist_ok=True)
    passfile.touch(mode=0o600)
    passfile.chmod(0o600)
    passfile.write_text(line + "\n")
    return without_password(conninfo.replace(url, {"passfile": str(passfile)}))


def with_one_host(url: str) -> str:
    """Return the address with only the host that accepts a connection, for programs that support only one host.

    Raises:
        UserError: None of several hosts accepts a connection.
    """
    if "," not in conninfo.parameters(url).get("host", ""):
        return url
    with connect(url) as connection:
        info = connection.info
        return conninfo.replace(url, {"host": info.host, "hostaddr": None, "port": str(info.port)})


@dataclass(frozen=True)
class AddressParts:
    """An address of one server, for programs that do not accept a connection string.

    Attributes:
        host: Host name, address or socket folder; empty for libpq's default.
        password: Empty if the address contains none.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str


def split_address(url: str) -> AddressParts:
    """Split an address with one host (see `with_one_host`) into its parts, with libpq's defaults for missing parts."""
    given = conninfo.parameters(url)
    return AddressParts(
        host=given.get("host", ""),
        port=int(given.get("port", "5432")),
        database=given["dbname"],
        user=given["user"],
        password=given.get("password", ""),
        sslmode=given.get("sslmode", "prefer"),
    )


def client_arguments(url: str) -> tuple[str, dict[str, str]]:
    """Return the arguments for a program of Postgres, such as psql.

    Returns:
        The connection string for the command line, without secrets because all users can read command lines; and the
        complete environment, which contains the password.
    """
    given = conninfo.parameters(url)
    shown = conninfo.replace(url, dict.fromkeys(conninfo.SECRET_PARAMETERS))
    return shown, dict(os.environ) | ({"PGPASSWORD": given["password"]} if "password" in given else {})


def embedded(settings: Settings) -> EmbeddedPostgres:
    """Return the embedded server of these settings, whether or not it runs."""
    return EmbeddedPostgres(settings.data_dir / "postgres", password=settings.secrets.postgres_password)


def database_name(settings: Settings) -> str:
    """Return the name of the database; the server need not run."""
    url = settings.database_direct_url or settings.database_url
    return MAIN_DATABASE if url is None else conninfo.parameters(url)["dbname"]


def direct_url(settings: Settings) -> str:
    """Return the owner's address, not through a pooler: for migrations, dbt, Dagster and imports.

    Raises:
        UserError: The embedded server is used and does not run.
    """
    url = settings.database_direct_url or settings.database_url
    if url is not None:
        return url
    server = embedded(settings)
    port = server.running_port()
    if port is None:
        raise UserError("The embedded Postgres is not running.", "Start it with `tilda up`.")
    return server.url(MAIN_DATABASE, port=port)


def ingest_url(settings: Settings) -> str:
    """Return the address with the public API's login, through the pooler if there is one."""
    url = settings.database_url or direct_url(settings)
    return replace_in_url(url, user=INGEST_LOGIN, password=settings.secrets.ingest_password)


def reader_url(settings: Settings) -> str:
    """Return the address with the login that reads `marts` and `ml`, through the pooler if there is one."""
    url = settings.database_url or direct_url(settings)
    return replace_in_url(url, user=READER_LOGIN, password=settings.secrets.reader_password)


def privacy_url(settings: Settings) -> str:
    """Return the address with the login for privacy requests, not through a pooler, because erasing holds locks."""
    return replace_in_url(direct_url(settings), user=PRIVACY_LOGIN, password=settings.secrets.privacy_password)


def dagster_url(settings: Settings) -> str:
    """Return the address of Dagster's own database as a URL, for SQLAlchemy."""
    return conninfo.as_url(replace_in_url(direct_url(settings), database=DAGSTER_DATABASE))


@contextmanager
def running_database(settings: Settings) -> Generator[str]:
    """Yield the owner's address. If the embedded server is stopped, start it, and stop it again afterwards."""
    if not settings.uses_embedded_postgres:
        yield direct_url(settings)
        return
    server = embedded(settings)
    started = server.running_port() is None
    if started:
        server.start(settings.postgres_port)
    try:
        if started:
            server.ensure_database(MAIN_DATABASE)
        yield direct_url(settings)
    finally:
        if started:
            server.stop()


def ensure_database(url: str, name: str) -> None:
    """Create the database `name` if the server that `url` names does not have it.

    Raises:
        UserError: The login may not create it.
    """
    with connect(url) as connection:
        if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
            try:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            except errors.InsufficientPrivilege as error:
                user = connection.info.user
                raise UserError(
                    f"The login {user} may not create the database {name}.",
                    f'Let an administrator run: create database {name} owner "{user}"',
                ) from error
