"""Takes strong locks on busy tables without blocking others for long, and holds advisory locks and file locks."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors

from warehouse.kit.errors import UserError

TIMEOUT = "40ms"
"""First `lock_timeout` of a statement that needs a strong lock. While it waits, later statements queue behind it."""
LONGEST_TIMEOUT_MS = 1000
"""Maximum `lock_timeout`, after repeated attempts that met transactions longer than `TIMEOUT`."""
PATIENCE_SECONDS = 120
BUILD_LOCK = "tilda.dbt"
"""Advisory lock of a build of the models: concurrent builds would rename each other's tables, and an erasure waits for
a build that began before it, which would insert the person's rows again."""


def retried(work: Callable[[str], None], patience: float = PATIENCE_SECONDS) -> None:
    """Retry `work` until it gets its locks.

    Args:
        work: Called with the `lock_timeout` for its statements. The timeout grows with each attempt, because on a
            server with longer transactions the first timeout would never suffice.
        patience: Seconds after which to give up.

    Raises:
        UserError: `work` did not get its locks within `patience` seconds.
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
                    "Run the command again when it has ended; pg_stat_activity shows it.",
                ) from error
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - avoids repeated collisions with a periodic job
            timeout_ms = min(1.5 * timeout_ms, LONGEST_TIMEOUT_MS)
        else:
            return


@contextmanager
def held(
    connection: psycopg.Connection, name: str, *, busy: UserError | None = None, patience: float = PATIENCE_SECONDS
) -> Generator[None]:
    """Hold a session-level advisory lock while the block runs.

    The lock is polled, because a statement that waits for it would hold a snapshot, and CREATE INDEX CONCURRENTLY waits
    for all snapshots.

    Args:
        connection: In autocommit mode, not through a pooler.
        name: Name of the lock; its hash is the lock's key.
        busy: Raised if another session still holds the lock after `patience` seconds; None: wait without limit.
        patience: Seconds to wait; ignored without `busy`.
    """
    key = [name]
    give_up = time.monotonic() + patience
    while connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", key).fetchone() != (True,):
        if busy is not None and time.monotonic() > give_up:
            raise busy
        time.sleep(0.2)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", key)


@contextmanager
def file_lock(path: Path) -> Generator[bool]:
    """Hold the lock of a file while the block runs. Yield False if another process holds it.

    The kernel releases the lock when the process ends for any reason.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
