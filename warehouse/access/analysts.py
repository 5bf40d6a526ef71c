"""Logins of analysts and modellers.

An analyst uses psql and BI tools and may read only the schemas `marts`, `ml` and `custom`. A modeller develops dbt
models: the login may also read the raw events, and creates and writes schemas of its own.
"""

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
MODELLER_ROLE = "modeller"
CONNECTIONS = 10
STATEMENT_TIMEOUT = "60s"
IDLE_TIMEOUT = "10min"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = re.compile(
    r"(pg_|tilda_|supabase|dashboard_user$|pgbouncer$|postgres$|public$|none$|current_|session_user$|user$)"
)


@dataclass(frozen=True)
class Analyst:
    """An analyst's login.

    Attributes:
        name: Name of the role and of the user.
        connections: Number of open connections.
        connection_limit: Maximum number of open connections.
        role: `analyst` or `modeller`.
    """

    name: str
    connections: int
    connection_limit: int
    role: str = ROLE


@dataclass(frozen=True)
class Access:
    """Connection parameters of an analyst. The password is not stored anywhere.

    Attributes:
        url: URL with the password.
        psql: Command line of psql. It has no password, because other users can read command lines; psql asks for it.
        jdbc: URL for JDBC drivers, without user and password; None for a Unix socket.
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


def add_analyst(url: str, name: str, *, modeller: bool = False) -> Access:
    """Create the login of an analyst, with limits on its statements and connections, or of a modeller.

    Args:
        url: The owner's address, not through a pooler.
        name: 1 to 63 of a-z, 0-9 and `_`, beginning with a letter.
        modeller: Whether the login may also read raw events and create schemas. Its statements have no time limit,
            because a build of the models takes minutes.

    Raises:
        UserError: The name is invalid or taken, or the owner may not create roles.
    """
    _check_name(name)
    password = new_secret()
    role = sql.Identifier(name)
    with connect(url) as connection, connection.transaction():
        try:
            connection.execute(
                sql.SQL("create role {} login in role {} connection limit {}").format(
                    role, sql.Identifier(MODELLER_ROLE if modeller else ROLE), sql.Literal(CONNECTIONS)
                )
            )
        except errors.DuplicateObject as error:
            raise UserError(
                f"There is a role {name} already.", f"Choose another name, or `tilda analyst remove {name}`."
            ) from error
        limits = {"idle_in_transaction_session_timeout": IDLE_TIMEOUT}
        if not modeller:
            limits |= {"default_transaction_read_only": "on", "statement_timeout": STATEMENT_TIMEOUT}
        for setting, value in limits.items():
            connection.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(setting), value))
        if modeller:
            # a privilege of the database, which neither a copy of the database nor a restored backup keeps
            database = sql.Identifier(connection.info.dbname)
            connection.execute(
                sql.SQL("grant create on database {} to {}").format(database, sql.Identifier(MODELLER_ROLE))
            )
        set_password(connection, name, password)
    return _access(replace_in_url(url, user=name, password=password))


def list_analysts(url: str) -> list[Analyst]:
    """Return the logins of analysts and modellers, ordered by name."""
    with connect(url) as connection:
        rows = connection.execute(
            """
            select
                r.rolname, (select count(*) from pg_stat_activity as a where a.usesysid = r.oid), r.rolconnlimit,
                granted.rolname
            from pg_auth_members as m
            inner join pg_roles as r on r.oid = m.member
            inner join pg_roles as granted on granted.oid = m.roleid
            where granted.rolname = any(%s) and r.rolcanlogin and not r.rolsuper and r.rolname <> all(%s)
            group by r.rolname, r.oid, r.rolconnlimit, granted.rolname
            order by r.rolname
            """,
            [[ROLE, MODELLER_ROLE], [*PASSWORDS]],
        ).fetchall()
    return [Analyst(*row) for row in rows]


def remove_analyst(url: str, name: str) -> Analyst:
    """End the sessions of an analyst and drop the login. Return the dropped login.

    Raises:
        UserError: There is no such analyst, or the login owns objects (after a change of its privileges).
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
        connection.execute(
            sql.SQL("alter role {} nologin").format(role)
        )  # no new sessions while the open ones are ended
        _end_sessions(connection, name)
        with connection.transaction():
            connection.execute(sql.SQL("drop owned by {}").format(role))  # privileges granted directly to the role
            connection.execute(sql.SQL("drop role {}").format(role))
    return analyst


def get_analyst(url: str, name: str) -> Analyst:
    """Return the analyst with this name.

    Raises:
        UserError: There is no such analyst.
    """
    known = {analyst.name: analyst for analyst in list_analysts(url)}
    if name not in known:
        raise UserError(f"There is no analyst {name!r}.", "`tilda analyst list` names them.")
    return known[name]


def _end_sessions(connection: psycopg.Connection, name: str) -> None:
    """End the sessions of a role. This needs a member of the role or a superuser, so a non-superuser joins first."""
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
    if _RESERVED.match(name) or name in {"anon", "authenticated", "service_role", "authenticator", MODELLER_ROLE, ROLE}:
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
