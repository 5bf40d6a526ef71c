"""Stores sessions and visitors that a Supabase client sends."""

from __future__ import annotations

import psycopg

from warehouse.events.landing import DATA_ERRORS, retry_deadlocks


class RefusedProfileError(Exception):
    """Postgres refused profiles because of their content; none was stored.

    Args:
        code: SQLSTATE.
        message: Postgres's primary message. It may quote the rows, so return it only to their sender.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def land_profiles(connection: psycopg.Connection, table: str, site_id: str, objects: str) -> None:
    """Insert all of the sessions or users of a site, or none. In an existing row, fill only empty columns.

    Args:
        connection: In autocommit mode, with the privilege to call `land_profiles`.
        table: `sessions` or `users`.
        site_id: The site.
        objects: A JSON array of objects with the table's columns.

    Raises:
        RefusedProfileError: A row is invalid.
        psycopg.Error: The server fails.
    """
    arguments = [table, site_id, objects]
    try:
        retry_deadlocks(lambda: connection.execute("select public.land_profiles(%s, %s, %s::json)", arguments))
    except UnicodeEncodeError:
        raise RefusedProfileError("22P05", "unsupported Unicode escape sequence") from None
    except DATA_ERRORS as error:
        raise RefusedProfileError(error.sqlstate or "22000", error.diag.message_primary or "refused") from None
