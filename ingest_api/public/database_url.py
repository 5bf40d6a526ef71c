"""The setting DATABASE_URL, without which the public application cannot start."""

from __future__ import annotations

from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings


def required_database_url(settings: Settings) -> str:
    """Return the address of the login tilda_ingest.

    The parent process checks it too, because uvicorn would restart failing workers endlessly.

    Raises:
        UserError: `DATABASE_URL` is not set.
    """
    if settings.database_url is None:
        raise UserError(
            "The ingest API needs DATABASE_URL with the login tilda_ingest.",
            "Start it with `tilda up`, which sets DATABASE_URL; the owner's login is never used.",
        )
    return settings.database_url
