"""The error type that users see, and the conversion of other errors into it."""

from __future__ import annotations

import psycopg
from psycopg import errors

DEBUG_REMEDY = "Run the command again with TILDA_DEBUG=1 to see where the error occurs, and report it."


class UserError(Exception):
    """An error that a user can correct.

    Args:
        message: One sentence that states what is wrong.
        remedy: One sentence that states what to do: a command or a setting.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


def explain(error: Exception) -> UserError:
    """Convert an exception to one sentence with a remedy, for the entry points of our processes.

    Errors of Postgres and of the operating system get a remedy that an operator can apply. Any other exception is a
    bug, and the message names its type.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, psycopg.Error):
        return _explain_postgres(error)
    if isinstance(error, OSError):
        path = f"{error.filename} cannot be used" if error.filename else "The operating system refuses"
        return UserError(
            f"{path}: {error.strerror or error}.", "Check the path, its permissions and the free disk space."
        )
    return UserError(f"Unexpected {type(error).__name__}: {_first_line(error)}.", DEBUG_REMEDY)


def _explain_postgres(error: psycopg.Error) -> UserError:
    said = _first_line(error)
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName | errors.UndefinedFunction):
        return UserError("The database lacks the platform's tables.", "Create them: tilda migrate")
    if isinstance(error, errors.InsufficientPrivilege):
        return UserError(
            f"Postgres refuses the login of DATABASE_URL: {said}.",
            "Name the database's owner in DATABASE_URL; it needs the right to create roles, schemas and databases.",
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return UserError(f"Postgres refuses to write: {said}.", "Name the primary in DATABASE_URL, not a replica.")
    if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
        return UserError(
            f"Postgres took too long: {said}.",
            "Try again when Postgres is less busy; pg_stat_activity shows its queries.",
        )
    if isinstance(error, psycopg.OperationalError):
        return UserError(
            f"The connection to Postgres failed: {said}.",
            "Check that Postgres runs, then run the command again.",
        )
    return UserError(f"Postgres refuses a statement: {said}.", DEBUG_REMEDY)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else "no message"
