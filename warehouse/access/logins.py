"""The three login roles of the platform's processes, and their passwords.

Roles belong to the Postgres server, not to one database or one machine. A password is therefore set only when its role
is created or on request (`tilda db logins --rotate`), and never at a start: another machine may use the current
password.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from warehouse.kit.database import (
    INGEST_LOGIN,
    PRIVACY_LOGIN,
    READER_LOGIN,
    ConnectionFailedError,
    connect,
    embedded,
    replace_in_url,
)
from warehouse.kit.errors import UserError
from warehouse.kit.migrations import LOCK, SQL_DIR
from warehouse.kit.secret_store import Secrets, new_secret
from warehouse.kit.settings import Settings

ROLES_FILE = SQL_DIR / "0000_roles.sql"
PASSWORDS = {INGEST_LOGIN: "ingest_password", READER_LOGIN: "reader_password", PRIVACY_LOGIN: "privacy_password"}
"""For each login, the name of its password in `Secrets` and in the settings."""


@dataclass(frozen=True)
class Login:
    """The result of a login with this machine's password.

    Attributes:
        name: Name of the role.
        password: Name of the password's setting and secret.
        state: `ok`, `missing` (no such role), or `refused`.
        reason: Postgres's message if the login is refused.
    """

    name: str
    password: str
    state: str
    reason: str | None = None


def create_missing_logins(url: str, secrets: Secrets) -> list[str]:
    """Create missing roles, and set the passwords of new roles and of roles without a password.

    This function creates roles with passwords in one transaction, so a role without a password was created by an
    administrator with the SQL of `tilda migrate --sql`. Only a superuser can see whether a role has a password.

    Args:
        url: The owner's address, not through a pooler.
        secrets: The passwords to set.

    Returns:
        The logins whose password was set.
    """
    with connect(url) as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [LOCK])
        unset = [name for name in PASSWORDS if name not in _known(connection)]
        if unset:
            connection.execute(ROLES_FILE.read_bytes())
        row = connection.execute("select has_table_privilege('pg_catalog.pg_authid', 'select')").fetchone()
        if row == (True,):
            without = connection.execute(
                "select rolname from pg_authid where rolname = any(%s) and rolpassword is null", [list(PASSWORDS)]
            ).fetchall()
            unset = [name for (name,) in without]
        _set_passwords(connection, unset, secrets)
    return unset


def list_logins(url: str, secrets: Secrets) -> list[Login]:
    """Try every login with this machine's password.

    Args:
        url: The owner's address, not through a pooler, which may have its own passwords.
        secrets: The passwords of this machine.
    """
    with connect(url) as connection:
        known = _known(connection)
    return [
        _try(url, secrets, name) if name in known else Login(name, password, "missing")
        for name, password in PASSWORDS.items()
    ]


def require_logins(url: str, settings: Settings) -> None:
    """Check that the database accepts this machine's passwords.

    Raises:
        UserError: A login is refused. Nothing was changed.
    """
    refused = [login for login in list_logins(url, settings.secrets) if login.state == "refused"]
    if refused:
        raise UserError(
            f"Another machine made the logins of this database: {refused[0].name} cannot log in with the password of"
            f" this one ({refused[0].reason}).",
            f"Copy its secrets.json to {settings.data_dir}, or set INGEST_PASSWORD, READER_PASSWORD and"
            " PRIVACY_PASSWORD; `tilda db logins --rotate` makes new ones and locks the other machine out.",
        )


def rotate_passwords(url: str, settings: Settings) -> None:
    """Set new passwords for all logins and save them in secrets.json; a password from a setting is used as it is.

    Machines with the old passwords cannot open new connections afterwards. `settings.secrets` keeps its old values.

    Raises:
        UserError: The passwords cannot be saved; nothing was changed.
    """
    made = {name: new_secret() for name in PASSWORDS.values() if getattr(settings, name) is None}
    with connect(url) as connection, connection.transaction():
        _set_passwords(connection, list(PASSWORDS), replace(settings.secrets, **made))
        # Save before the commit: if Postgres refuses a statement above, the file is unchanged.
        Secrets.keep(settings.data_dir, made)


def reset_owner_password(settings: Settings) -> None:
    """Set the superuser's password of the stopped embedded server to the one in `secrets.json`.

    The server's password is unknown if `secrets.json` was lost and created again. Does nothing for an external server.
    """
    if settings.uses_embedded_postgres:
        embedded(settings).reset_password()


def address_as(owner: str, settings: Settings, login: str) -> str:
    """Return the owner's address with another login: `owner`, `reader`, or the name of an analyst.

    The address of an analyst contains no password.
    """
    if login == "owner":
        return owner
    if login == "reader":
        return replace_in_url(owner, user=READER_LOGIN, password=settings.secrets.reader_password)
    return replace_in_url(owner, user=login)


def _known(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute("select rolname from pg_roles where rolname = any(%s)", [list(PASSWORDS)])
    return {name for (name,) in rows}


def _try(url: str, secrets: Secrets, name: str) -> Login:
    password: str = getattr(secrets, PASSWORDS[name])
    try:
        connect(replace_in_url(url, user=name, password=password)).close()
    except ConnectionFailedError as error:
        return Login(name, PASSWORDS[name], "refused", error.reason)
    return Login(name, PASSWORDS[name], "ok")


def _set_passwords(connection: psycopg.Connection, names: list[str], secrets: Secrets) -> None:
    for name in names:
        set_password(connection, name, getattr(secrets, PASSWORDS[name]))


def set_password(connection: psycopg.Connection, role: str, password: str) -> None:
    """Set a role's password. It is hashed here, so that the server's log and statistics never contain it."""
    hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(hashed.decode())))
