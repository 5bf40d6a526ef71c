"""The one way to open a connection, and the addresses under which each part of the platform logs in."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
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
# What psycopg and libpq say before the reason; the address is in our own sentence.
_PREFIX = re.compile(r"^connection (?:failed|is bad): (?:connection to server .*? failed: )?")


class ConnectionFailedError(UserError):
    """The server cannot be reached or refuses the login; `reason` is what it or libpq says."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"Postgres at {address} does not accept a connection: {reason}.",
            "Start it with `tilda up`, or check DATABASE_URL.",
        )
        self.reason = reason


def connect(url: str, *, autocommit: bool = True, application: str = "tilda") -> psycopg.Connection:
    """Open a connection. No prepared statements, so that a transaction pooler fits.

    Raises:
        ConnectionFailedError: The server cannot be reached or refuses the login. No message holds the password.
        UserError: The address is no connection string.
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
    """The address as a URL without its secrets, fit to be shown."""
    return conninfo.as_url(conninfo.replace(url, dict.fromkeys(conninfo.SECRET_PARAMETERS)))


def replace_in_url(
    url: str, *, user: str | None = None, password: str | None = None, database: str | None = None
) -> str:
    """The same server under another login or database, as a `key=value` connection string.

    Another login gets none of the former one's credentials: no password, password file or client certificate. A pooler
    that tells tenants by a suffix of the user name (`postgres.abcd`, as Supabase does) keeps its suffix.
    """
    changes: dict[str, str | None] = {}
    if user is not None:
        _, dot, tenant = conninfo.parameters(url)["user"].partition(".")
        changes |= dict.fromkeys(conninfo.CREDENTIALS) | {"user": f"{user}{dot}{tenant}", "password": password}
    if database is not None:
        changes["dbname"] = database
    return conninfo.replace(url, changes)


def url_with_passfile(url: str, passfile: Path) -> str:
    """An address that can be shown: libpq reads the password from a file that only its owner can read.

    The file is (re)written with the password of `url`.
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
    """The address with the one of its hosts that accepts a connection now: for programs that take only one.

    Raises:
        UserError: None of several hosts does.
    """
    if "," not in conninfo.parameters(url).get("host", ""):
        return url
    with connect(url) as connection:
        info = connection.info
        return conninfo.replace(url, {"host": info.host, "hostaddr": None, "port": str(info.port)})


def client_arguments(url: str) -> tuple[str, dict[str, str]]:
    """How to start one of Postgres's own programs, such as psql.

    Returns:
        The connection string for its command line, which everybody on the machine can read and so holds no secret, and
        the whole environment, which holds the password.
    """
    given = conninfo.parameters(url)
    shown = conninfo.replace(url, dict.fromkeys(conninfo.SECRET_PARAMETERS))
    return shown, dict(os.environ) | ({"PGPASSWORD": given["password"]} if "password" in given else {})


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded server of these settings, running or not."""
    return EmbeddedPostgres(settings.data_dir / "postgres", password=settings.secrets.postgres_password)


def database_name(settings: Settings) -> str:
    """The name of the database, without asking whether it runs."""
    url = settings.database_direct_url or settings.database_url
    return MAIN_DATABASE if url is None else conninfo.parameters(url)["dbname"]


def direct_url(settings: Settings) -> str:
    """The owner's address, past a pooler: for migrations, dbt, Dagster, imports.

    Raises:
        UserError: The embedded server is the default and does not run.
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
    """The address of the public API's login; through the pooler, if there is one."""
    url = settings.database_url or direct_url(settings)
    return replace_in_url(url, user=INGEST_LOGIN, password=settings.secrets.ingest_password)


def reader_url(settings: Settings) -> str:
    """The address of the login that reads marts and ml; through the pooler, if there is one."""
    url = settings.database_url or direct_url(settings)
    return replace_in_url(url, user=READER_LOGIN, password=settings.secrets.reader_password)


def privacy_url(settings: Settings) -> str:
    """The address of the login that shows and erases a person; past the pooler, since erasing holds locks."""
    return replace_in_url(direct_url(settings), user=PRIVACY_LOGIN, password=settings.secrets.privacy_password)


def dagster_url(settings: Settings) -> str:
    """The address of Dagster's own database, as a URL: Dagster reads it with SQLAlchemy."""
    return conninfo.as_url(replace_in_url(direct_url(settings), database=DAGSTER_DATABASE))


@contextmanager
def running_database(settings: Settings) -> Generator[str]:
    """The owner's address while the database runs; an embedded server that was stopped is started for the while."""
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
