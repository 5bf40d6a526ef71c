"""Taking strong locks on tables that everybody uses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from psycopg import errors

from warehouse.errors import UserError

TIMEOUT = "40ms"
"""`lock_timeout` of a statement that wants a strong lock: whoever comes later waits behind it for as long."""
PATIENCE_SECONDS = 120


def retried(work: Callable[[], None], patience: float = PATIENCE_SECONDS) -> None:
    """Do `work`, which sets `lock_timeout`, again and again until it gets its locks.

    Raises:
        UserError: It did not within `patience` seconds.
    """
    give_up = time.monotonic() + patience
    while True:
        try:
            work()
        except errors.LockNotAvailable as error:
            if time.monotonic() > give_up:
                raise UserError(
                    "A long query or transaction keeps the tables busy.",
                    "Try again when it has ended; pg_stat_activity shows it.",
                ) from error
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - not to meet the same job again
        else:
            return
