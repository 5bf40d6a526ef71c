"""The three things the public application asks of Postgres, each on connections of its own, each in threads."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg

from ingest_api.sites import PostgresAwayError, Site
from warehouse.database import connect
from warehouse.errors import UserError
from warehouse.events.landing import DATA_ERRORS, EventKey, land, retry_deadlocks
from warehouse.events.schema import Row

ANSWER_SECONDS = 20.0
"""Longer than the login's statement_timeout: a server that is silent for so long does not answer any more."""


_Result = TypeVar("_Result")


class RefusedError(Exception):
    """Postgres refused rows for what is in them.

    Args:
        code: SQLSTATE.
        message: Postgres's own; it may quote the rows, and is for their sender alone.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


class Connection:
    """One connection, opened when needed and again after a failure, used by one thread at a time."""

    def __init__(self, url: str, application: str) -> None:
        self._url = url
        self._application = application
        self._connection: psycopg.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=application)

    async def land(self, rows: Sequence[Row]) -> Counter[EventKey]:
        """Land a flush (`warehouse.events.landing.land`).

        Raises:
            PostgresAwayError: The server is away, or silent. Rows may have been committed all the same.
        """
        return await self._run(lambda connection: land(connection, rows))

    async def site_for_key(self, key: str) -> Site | None:
        """The site that a public key names.

        Raises:
            PostgresAwayError: The server is away, or silent.
        """

        def ask(connection: psycopg.Connection) -> Site | None:
            row = connection.execute("select site_id, domains from public.site_for_key(%s)", [key]).fetchone()
            return Site(row[0], tuple(_host_name(domain) for domain in row[1])) if row else None

        return await self._run(ask)

    async def land_profiles(self, kind: str, site_id: str, text: str) -> None:
        """Land sessions or users of a site, all or none.

        Args:
            kind: `sessions` or `users`.
            site_id: Whose they are.
            text: A JSON array of objects.

        Raises:
            RefusedError: One of them cannot be stored.
            PostgresAwayError: The server is away, or silent.
        """

        def ask(connection: psycopg.Connection) -> None:
            try:
                arguments = [kind, site_id, text]
                retry_deadlocks(lambda: connection.execute("select public.land_profiles(%s, %s, %s::json)", arguments))
            except UnicodeEncodeError:
                raise RefusedError("22P05", "unsupported Unicode escape sequence") from None
            except DATA_ERRORS as error:
                raise RefusedError(error.sqlstate or "22000", error.diag.message_primary or "refused") from None

        await self._run(ask)

    async def close(self) -> None:
        """Close the connection; nothing may be under way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._with_connection, work)
        try:
            return await asyncio.wait_for(asyncio.shield(future), ANSWER_SECONDS)
        except TimeoutError:
            self._hang_up()
            return await future

    def _with_connection(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        try:
            if self._connection is None or _was_cut(self._connection):
                self._drop()
                self._connection = connect(self._url, application=self._application)
            return work(self._connection)
        except (UserError, psycopg.Error) as error:
            # Whatever Postgres says that `land` could not handle (no disk left, shutting down, no memory): not now.
            self._drop()
            # The message of a UserError is ours; one of Postgres may quote what a visitor sent.
            said = error.message if isinstance(error, UserError) else f"{type(error).__name__} {error.sqlstate or ''}"
            raise PostgresAwayError(said.strip()) from error

    def _hang_up(self) -> None:
        """Wake the thread that waits for a silent server: its socket ends, and libpq reports a lost connection."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _was_cut(connection: psycopg.Connection) -> bool:
    """Whether the server ended this idle connection: nothing but its farewell can be there to be read."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _host_name(domain: str) -> str:
    """A domain as browsers write it in an origin: lower case, punycode. `www.` is dropped: a domain covers it."""
    name = domain.strip().rstrip(".").lower().removeprefix("www.")
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
