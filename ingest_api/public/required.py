"""What the public application cannot do without."""

from __future__ import annotations

from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings


def required_database_url(settings: Settings) -> str:
    """The address of the login tilda_ingest.

    Checked by the process that starts workers as well: a worker that fails is started again for ever.

    Raises:
        UserError: There is none.
    """
    if settings.database_url is None:
        raise UserError(
            "The ingest API needs DATABASE_URL with the login tilda_ingest.",
            "`tilda up` starts it with that; it never uses the owner's login.",
        )
    return settings.database_url
