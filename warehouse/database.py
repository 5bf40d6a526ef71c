"""The one way to open a connection, and the addresses under which each part of the platform logs in."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from warehouse.embedded_postgres import EmbeddedPostgres
from warehouse.errors import UserError
from warehouse.settings import Settings

SUPERUSER = "postgres"
MAIN_DATABASE = "tilda"
DAGSTER_DATABASE = "dagster"
INGEST_LOGIN = "tilda_ingest"
READER_LOGIN = "tilda_reader"
PRIVACY_LOGIN = "tilda_privacy"


def connect(url: str, *, autocommit: bool = True, application: str = "tilda") -> psycopg.Connection:
    """Open a connection. No prepared statements, so that a transaction pooler fits.

    Raises:
        UserError: The server cannot be reached or refuses the login. The password is not in the message.
    """
    try:
        return psycopg.connect(
            url,
            autocommit=autocommit,
            prepare_threshold=None,
            connect_timeout=10,
            application_name=application,
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "no answer"
        raise UserError(
            f"Postgres at {without_password(url)} does not accept a connection: {reason}.",
            "Start it with `tilda up`, or check DATABASE_URL.",
        ) from error


def without_password(url: str) -> str:
    """The address with its password taken out, fit to be shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username
    return urlunsplit(parts._replace(netloc=f"{quote(unquote(user), safe='')}@{host}" if user else host))


def replace_in_url(
    url: str, *, user: str | None = None, password: str | None = None, database: str | None = None
) -> str:
    """The same server under another login or database.

    A pooler that tells tenants by a suffix of the user name (`postgres.abcd`, as Supabase does) keeps its suffix.
    """
    parts = urlsplit(url)
    netloc = parts.netloc
    if user is not None:
        host = netloc.rpartition("@")[2]
        _, dot, tenant = unquote(parts.username or "").partition(".")
        login = quote(f"{user}{dot}{tenant}", safe="")
        netloc = f"{login}:{quote(password, safe='')}@{host}" if password is not None else f"{login}@{host}"
    path = parts.path if database is None else f"/{quote(database, safe='')}"
    return urlunsplit(parts._replace(netloc=netloc, path=path))


def url_with_passfile(url: str, passfile: Path) -> str:
    """An address that can be shown: libpq reads the password from a file that only its owner can read.

    The file is (re)written with the password of `url`.
    """
    parts = urlsplit(url)
    if not parts.password:
        return url

    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace(":", "\\:")

    line = ":".join(["*", "*", "*", escape(unquote(parts.username or "")), escape(unquote(parts.password))])
    passfile.parent.mkdir(parents=True, exist_ok=True)
    passfile.touch(mode=0o600)
    passfile.chmod(0o600)
    passfile.write_text(line + "\n")
    shown = urlsplit(without_password(url))
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("passfile", str(passfile))], quote_via=quote)
    return urlunsplit(shown._replace(query=query))


def embedded(settings: Settings) -> EmbeddedPostgres:
    """The embedded server of these settings, running or not."""
    return EmbeddedPostgres(settings.data_dir / "postgres", password=settings.secrets.postgres_password)


def database_name(settings: Settings) -> str:
    """The name of the database, without asking whether it runs."""
    url = settings.database_direct_url or settings.database_url
    return MAIN_DATABASE if url is None else unquote(urlsplit(url).path.lstrip("/")) or SUPERUSER


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
    """The address of the login that reads marts and ml."""
    url = settings.database_url or direct_url(settings)
    return replace_in_url(url, user=READER_LOGIN, password=settings.secrets.reader_password)


def privacy_url(settings: Settings) -> str:
    """The address of the login that shows and erases a person; past the pooler, since erasing holds locks."""
    return replace_in_url(direct_url(settings), user=PRIVACY_LOGIN, password=settings.secrets.privacy_password)


def dagster_url(settings: Settings) -> str:
    """The address of Dagster's own database."""
    return replace_in_url(direct_url(settings), database=DAGSTER_DATABASE)


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
        server.ensure_database(MAIN_DATABASE)
    try:
        yield direct_url(settings)
    finally:
        if started:
            server.stop()


def ensure_database(url: str) -> None:
    """Create the database that `url` names if the server does not have it."""
    name = unquote(urlsplit(url).path.lstrip("/"))
    with connect(replace_in_url(url, database="postgres")) as connection:
        if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
