"""One connection to Postgres with its own thread; it is opened on first use and reopened after a failure."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg

from warehouse.kit.database import connect
from warehouse.kit.errors import UserError

ANSWER_SECONDS = 20.0
"""Timeout for an answer. Longer than the login's statement_timeout; after it, the connection counts as lost."""

_Result = TypeVar("_Result")


class PostgresError(Exception):
    """A statement or a connection attempt failed.

    Args:
        sqlstate: Postgres's error code; None if the connection failed or was lost.
        message: Postgres's primary message. It contains no row data, because Postgres puts that into the details.
    """

    def __init__(self, sqlstate: str | None, message: str) -> None:
        super().__init__(f"{sqlstate or 'connection'}: {message}")
        self.sqlstate = sqlstate
        self.message = message


class Connection:
    """One connection, used by one thread at a time.

    Args:
        url: Address of a database login.
        application: Name shown in pg_stat_activity.
    """

    def __init__(self, url: str, application: str) -> None:
        self._url = url
        self._application = application
        self._connection: psycopg.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=application)

    async def run(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        """Run `work` with the open connection, in autocommit mode.

        Raises:
            PostgresError: The server cannot be reached, returns an error, or does not answer within `ANSWER_SECONDS`.
                Statements of `work` may have been committed nevertheless. The next call opens a new connection.
        """
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._with_connection, work)
        try:
            return await asyncio.wait_for(asyncio.shield(future), ANSWER_SECONDS)
        except TimeoutError:
            self._shut_socket()
            return await future

    async def close(self) -> None:
        """Close the connection. No call of `run` may be pending."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _with_connection(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        try:
            if self._connection is None or _was_closed_by_server(self._connection):
                self._drop()
                self._connection = connect(self._url, application=self._application)
            return work(self._connection)
        except UserError as error:
            self._drop()
            raise PostgresError(None, error.message) from error
        except psycopg.Error as error:
            self._drop()
            raise PostgresError(error.sqlstate, error.diag.message_primary or type(error).__name__) from error

    def _shut_socket(self) -> None:
        """Shut down the socket, so that libpq reports a lost connection to the thread that waits for the server."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _was_closed_by_server(connection: psycopg.Connection) -> bool:
    """Return True if the server closed this idle connection: its socket is readable."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
