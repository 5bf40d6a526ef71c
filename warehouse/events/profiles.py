"""Lands what a Supabase client says of its sessions and visitors."""

from __future__ import annotations

import psycopg

from warehouse.events.landing import DATA_ERRORS, retry_deadlocks


class RefusedProfileError(Exception):
    """Postgres refused profiles for what is in them; none was stored.

    Args:
        code: SQLSTATE.
        message: Postgres's primary message; it may quote the rows, and is for their sender alone.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def land_profiles(connection: psycopg.Connection, table: str, site_id: str, objects: str) -> None:
    """Insert sessions or users of a site, all or none; a known row is completed where it is empty.

    Args:
        connection: In autocommit mode, with the right to call `land_profiles`.
        table: `sessions` or `users`.
        site_id: The site.
        objects: A JSON array of objects with the table's columns.

    Raises:
        RefusedProfileError: One of them cannot be stored.
        psycopg.Error: The server fails.
    """
    arguments = [table, site_id, objects]
    try:
        retry_deadlocks(lambda: connection.execute("select public.land_profiles(%s, %s, %s::json)", arguments))
    except UnicodeEncodeError:
        raise RefusedProfileError("22P05", "unsupported Unicode escape sequence") from None
    except DATA_ERRORS as error:
        raise RefusedProfileError(error.sqlstate or "22000", error.diag.message_primary or "refused") from None
