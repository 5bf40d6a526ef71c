"""Environment variables that the processes of the stack inherit, as allowlists."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from warehouse.kit.settings import RESOLVED, Settings

# Names that end in * are prefixes.
SYSTEM = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "LANG", "LANGUAGE", "LC_*", "TZ", "PYTHON*",
    "LD_LIBRARY_PATH", "DYLD_*", "SSL_CERT_FILE", "SSL_CERT_DIR", "TILDA_DEBUG",
    # threads of numeric libraries
    "OMP_*", "OPENBLAS_*", "MKL_*", "NUMEXPR_*", "LOKY_*",
    # libpq, without user names and passwords
    "PGHOST", "PGHOSTADDR", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCRL", "PGSERVICEFILE", "PGSYSCONFDIR",
)  # fmt: skip
"""For all processes."""
STORAGE = (
    "AWS_*", "AZURE_*", "GOOGLE_*", "GCSFS_*", "FSSPEC_*",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
"""For processes that read and write cold months: storage credentials and proxies."""
OWNER = ("PG*", "DAGSTER_*", "DBT_*")
"""For processes that log in as the owner of the database."""


def inherited(allowed: Iterable[str]) -> dict[str, str]:
    """Return the allowed variables of this process's environment. A name that ends in * is a prefix."""
    names = set(allowed)
    prefixes = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
    return {name: value for name, value in os.environ.items() if name in names or name.startswith(prefixes)}


def chosen_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that were set and are not secret, as environment variables.

    Ports are left out: each process gets only its own port. The variable `RESOLVED` stops the process from reading
    `.env`, which may contain secrets.
    """
    names = settings.model_fields_set - settings.secret_names()
    chosen = {name.upper(): _as_text(getattr(settings, name)) for name in names if not name.endswith("_port")}
    return chosen | {"DATA_DIR": str(settings.data_dir), RESOLVED: "1"}


def _as_text(value: object) -> str:
    """Format a setting as in `.env`."""
    if isinstance(value, Path | str | bool | int):
        return str(value)
    if isinstance(value, Iterable):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
