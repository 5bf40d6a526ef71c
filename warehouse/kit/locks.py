"""Locks that do not make others wait: strong ones on tables in use, and advisory locks of one job at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from warehouse.kit.errors import UserError

TIMEOUT = "40ms"
"""`lock_timeout` of a statement that wants a strong lock: whoever comes later waits behind it for as long."""
LONGEST_TIMEOUT_MS = 1000
"""Of a statement that has met transactions longer than `TIMEOUT` again and again."""
PATIENCE_SECONDS = 120


def retried(work: Callable[[str], None], patience: float = PATIENCE_SECONDS) -> None:
    """Do `work` again and again until it gets its locks.

    Args:
        work: Is called with the `lock_timeout` for its statements, which grows with each attempt: a server whose
            transactions take longer than the first one would never grant a lock.
        patience: Seconds.

    Raises:
        UserError: It did not get them within `patience` seconds.
    """
    give_up = time.monotonic() + patience
    timeout_ms = float(TIMEOUT.removesuffix("ms"))
    while True:
        try:
            work(f"{timeout_ms:.0f}ms")
        except errors.LockNotAvailable as error:
            if time.monotonic() > give_up:
                raise UserError(
                    "A long query or transaction keeps the tables busy.",
                    "Try again when it has ended; pg_stat_activity shows it.",
                ) from error
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - not to meet the same job again
            timeout_ms = min(1.5 * timeout_ms, LONGEST_TIMEOUT_MS)
        else:
            return


@contextmanager
def held(connection: psycopg.Connection, name: str) -> Generator[None]:
    """Hold an advisory lock of the session.

    The lock is polled: a statement that waits for it would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for
    every snapshot.

    Args:
        connection: In autocommit mode, past a pooler.
        name: Of the lock; its hash is the key.
    """
    key = [name]
    while connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", key).fetchone() != (True,):
        time.sleep(0.2)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", key)
