"""Logins of analysts: roles that read `marts` and `ml`, and nothing else, for psql and BI tools."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from urllib.parse import quote

import psycopg
from psycopg import errors, sql

from warehouse.access.logins import PASSWORDS, set_password
from warehouse.kit import conninfo
from warehouse.kit.database import connect, replace_in_url, without_password
from warehouse.kit.errors import UserError
from warehouse.kit.secret_store import new_secret

ROLE = "analyst"
CONNECTIONS = 10
STATEMENT_TIMEOUT = "60s"
IDLE_TIMEOUT = "10min"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = re.compile(
    r"(pg_|tilda_|supabase|dashboard_user$|pgbouncer$|postgres$|public$|none$|current_|session_user$|user$)"
)


@dataclass(frozen=True)
class Analyst:
    """A login of an analyst.

    Attributes:
        name: The role, which is the user name.
        connections: How many are open now.
        connection_limit: How many may be open at a time.
    """

    name: str
    connections: int
    connection_limit: int


@dataclass(frozen=True)
class Access:
    """How an analyst connects. The password is nowhere else.

    Attributes:
        url: For tools that take a URL, with the password.
        psql: The command, which asks for the password: a command line is no place for it.
        jdbc: For JDBC drivers, without user and password, which they ask for; None for a socket.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str
    url: str = field(repr=False)
    psql: str
    jdbc: str | None


def add_analyst(url: str, name: str) -> Access:
    """Make a login that reads `marts` and `ml`: read-only by default, its statements and connections bounded.

    Args:
        url: The owner's address, past a pooler.
        name: 1 to 63 of a-z, 0-9 and `_`, beginning with a letter.

    Raises:
        UserError: The name cannot be used or is taken, or the owner may not make roles.
    """
    _check_name(name)
    password = new_secret()
    role = sql.Identifier(name)
    with connect(url) as connection, connection.transaction():
        try:
            connection.execute(
                sql.SQL("create role {} login in role {} connection limit {}").format(
                    role, sql.Identifier(ROLE), sql.Literal(CONNECTIONS)
                )
            )
        except errors.DuplicateObject as error:
            raise UserError(
                f"There is a role {name} already.", f"Choose another name, or `tilda analyst remove {name}`."
            ) from error
        for setting, value in (
            ("default_transaction_read_only", "on"),
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
        ):
            connection.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(setting), value))
        set_password(connection, name, password)
    return _access(replace_in_url(url, user=name, password=password))


def list_analysts(url: str) -> list[Analyst]:
    """The logins of analysts, by name."""
    with connect(url) as connection:
        rows = connection.execute(
            """
            select r.rolname, (select count(*) from pg_stat_activity as a where a.usesysid = r.oid), r.rolconnlimit
            from pg_auth_members as m
            inner join pg_roles as r on r.oid = m.member
            inner join pg_roles as granted on granted.oid = m.roleid
            where granted.rolname = %s and r.rolcanlogin and not r.rolsuper and r.rolname <> all(%s)
            group by r.rolname, r.oid, r.rolconnlimit
            order by r.rolname
            """,
            [ROLE, [*PASSWORDS]],
        ).fetchall()
    return [Analyst(*row) for row in rows]


def remove_analyst(url: str, name: str) -> Analyst:
    """Drop an analyst's login and end its sessions. Returns the login as it was.

    Raises:
        UserError: There is no such analyst, or it owns objects, which an analyst has no right to make.
    """
    analyst = get_analyst(url, name)
    role = sql.Identifier(name)
    with connect(url) as connection:
        owned = connection.execute(
            "select count(*) from pg_shdepend where refobjid = (select oid from pg_roles where rolname = %s)"
            " and refclassid = 'pg_authid'::regclass and deptype = 'o'",
            [name],
        ).fetchone()
        if owned != (0,):
            raise UserError(
                f"{name} owns {owned[0] if owned else 'some'} object(s), which would be lost.",
                f"Keep them first: tilda psql -c 'reassign owned by {name} to current_user'",
            )
        connection.execute(sql.SQL("alter role {} nologin").format(role))  # nobody logs in while sessions end
        _end_sessions(connection, name)
        with connection.transaction():
            connection.execute(sql.SQL("drop owned by {}").format(role))  # rights that were granted to it by name
            connection.execute(sql.SQL("drop role {}").format(role))
    return analyst


def get_analyst(url: str, name: str) -> Analyst:
    """The analyst of a name.

    Raises:
        UserError: There is none.
    """
    known = {analyst.name: analyst for analyst in list_analysts(url)}
    if name not in known:
        raise UserError(f"There is no analyst {name!r}.", "`tilda analyst list` names them.")
    return known[name]


def _end_sessions(connection: psycopg.Connection, name: str) -> None:
    """End the sessions of a role. Only its members may, and who is no superuser becomes one for this."""
    row = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    if row != (True,):
        connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(name)))
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [name])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be the name of an analyst.",
            "Use 1 to 63 lower-case letters, digits and '_', beginning with a letter.",
        )
    if _RESERVED.match(name) or name in {"anon", "authenticated", "service_role", "authenticator", "modeller", ROLE}:
        raise UserError(f"The name {name} is reserved.", "Choose another one.")


def _access(url: str) -> Access:
    given = conninfo.parameters(url)
    host, port = given.get("host", "localhost"), given.get("port", "5432")
    sslmode = given.get("sslmode", "prefer")
    hosts, ports = host.split(","), port.split(",")
    places = ",".join(f"{one}:{ports[number % len(ports)]}" for number, one in enumerate(hosts))
    return Access(
        host=host,
        port=int(ports[0]),
        database=given["dbname"],
        user=given["user"],
        password=given["password"],
        sslmode=sslmode,
        url=conninfo.as_url(url),
        psql=f"psql {shlex.quote(without_password(url))}",
        jdbc=None if host.startswith("/") else f"jdbc:postgresql://{places}/{quote(given['dbname'])}?sslmode={sslmode}",
    )
