"""The settings: read from the environment, then `.env`, then files of secrets, then the defaults."""

from __future__ import annotations

import os
import re
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from warehouse.kit import conninfo
from warehouse.kit.addresses import public_address
from warehouse.kit.errors import UserError
from warehouse.kit.installation import BASE_DIR, DATA_DIR
from warehouse.kit.secret_store import Secrets

RESOLVED = "TILDA_SETTINGS_ARE_RESOLVED"
"""Set in the environment of the stack's processes, which contains all settings that they may know. They ignore
`.env`."""

Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$", max_length=200)]
Secret = Annotated[str | None, Field(repr=False)]
"""A setting that may hold a password or key: never shown, readable from the file that `<NAME>_FILE` names, and given
only to processes that need it."""


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads a secret setting from the file that `<NAME>_FILE` names, as container platforms mount secrets.

    Args:
        settings_cls: The class of the settings.
        sources: The environment and `.env`, the first one taking precedence.
    """

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._given: dict[str, str | None] = {}
        for source in reversed(sources):
            if isinstance(source, EnvSettingsSource):
                self._given |= source.env_vars

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """Return the content of a secret's file, without the final newline; None if no file is named.

        Raises:
            UserError: The file cannot be read or is empty, or the setting itself is also set.
        """
        path = self._given.get(f"{field_name}_file") if not field.repr else None
        if not path:
            return None, field_name, False
        name = field_name.upper()
        if self._given.get(field_name):
            raise UserError(f"{name} and {name}_FILE are both set.", f"Unset {name} or {name}_FILE.")
        try:
            value = Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UserError(
                f"The file of {name}_FILE, {path}, cannot be read: {reason}.", "Correct its path or its permissions."
            ) from error
        if not value:
            raise UserError(f"The file of {name}_FILE, {path}, is empty.", "Write the secret into it.")
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return all secrets that are read from files."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """All settings; `.env.example` documents them.

    A port that is in use is an error, even if it is a default. Only `make demo` uses the next free port instead,
    and only for ports that are not set.
    """

    model_config = SettingsConfigDict(
        env_file=BASE_DIR / ".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: Secret = None
    database_direct_url: Secret = None
    ingest_password: Secret = None
    reader_password: Secret = None
    privacy_password: Secret = None
    data_dir: Path = DATA_DIR
    postgres_port: Port = 54330

    ingest_host: str = "127.0.0.1"
    ingest_port: Port = 8700
    ingest_workers: Annotated[int, Field(ge=1, le=64)] = 1
    public_url: str | None = None
    private_port: Port = 8701
    dagster_port: Port = 3000
    dashboard_port: Port = 8702
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.0/8", "::1")
    bot_exceptions: Annotated[tuple[str, ...], NoDecode] = ()

    rate_limit_per_ip: str = "500/5 minutes"
    rate_limit_per_site: str = "100000/5 minutes"
    rate_limit_storage_url: Secret = None
    spool_dir: Path | None = None
    spool_max_bytes: Annotated[int, Field(ge=65_536)] = 1_073_741_824
    tilda_webhook_token: Secret = None
    events_path: UrlPath = "/api/events"
    collector_path: UrlPath = "/collector.js"
    pixel_path: UrlPath = "/api/pixel.gif"

    max_payload_bytes: Annotated[int, Field(ge=100, le=262_144)] = 10_240
    max_events_per_request: Annotated[int, Field(ge=1, le=10_000)] = 500
    max_request_bytes: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_048_576

    service_key: Secret = None
    reader_key: Secret = None

    archive_after_months: Annotated[int, Field(ge=1, le=1_200)] = 6
    cold_after_months: Annotated[int, Field(ge=1, le=1_200)] = 12
    cold_storage_url: Secret = None

    rejected_keep_days: Annotated[int, Field(ge=1, le=3_650)] = 90
    # A claim may be 35 days older than the event's arrival, and a duplicate may wait on a spool for 35 days.
    claims_keep_days: Annotated[int, Field(ge=70, le=3_650)] = 90
    users_keep_months: Annotated[int, Field(ge=1, le=1_200)] = 25
    sessions_keep_months: Annotated[int, Field(ge=1, le=1_200)] = 25

    backup_dir: Path | None = None
    backup_keep_days: Annotated[int, Field(ge=1, le=3_650)] = 30

    min_positives: Annotated[int, Field(ge=20)] = 300
    targets_file: Path | None = None
    mindsdb: bool = True
    mindsdb_port: Port = 47334
    mindsdb_mysql_port: Port = 47335
    mindsdb_url: str | None = None
    mindsdb_username: str | None = None
    mindsdb_password: Secret = None

    @field_validator("trusted_proxies", "bot_exceptions", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return tuple(part for part in re.split(r"[,\s]+", value) if part) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _public_address(cls, value: str | None) -> str | None:
        try:
            return value and public_address(value)
        except ValueError as error:
            # a plain ValueError would read "Value error, …"
            raise PydanticCustomError("public_url", "{reason}", {"reason": str(error)}) from error

    @field_validator("data_dir", "spool_dir", "backup_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().resolve()

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _is_connection_string(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            conninfo.parameters(value, str(info.field_name).upper())
        return value

    @field_validator("rate_limit_per_ip", "rate_limit_per_site")
    @classmethod
    def _is_rate_limit(cls, value: str, info: ValidationInfo) -> str:
        from limits import parse  # noqa: PLC0415 - 50 ms, for commands that set no rate limit

        if value.strip().lower() != "off":
            try:
                parse(value)
            except ValueError as error:
                raise UserError(
                    f"{str(info.field_name).upper()} is {value!r}, which is not a rate limit.",
                    "Set it to a limit such as 500/5 minutes, or to off.",
                ) from error
        return value

    @field_validator("data_dir", "spool_dir")
    @classmethod
    def _is_writable_folder(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            _require_writable_folder(value, str(info.field_name).upper())
        return value

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        chosen: dict[int, str] = {}
        for name in sorted(name for name in self.model_fields_set if name.endswith("_port")):
            port: int = getattr(self, name)
            if port in chosen:
                raise UserError(f"{chosen[port]} and {name.upper()} are both {port}.", "Set them to different ports.")
            chosen[port] = name.upper()
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values; the first one takes precedence."""
        del file_secret_settings
        if os.environ.get(RESOLVED):
            return init_settings, env_settings
        files = _SecretFiles(settings_cls, env_settings, dotenv_settings)
        return init_settings, env_settings, dotenv_settings, files

    @classmethod
    def secret_names(cls) -> frozenset[str]:
        """Return the names of the settings that may contain a secret."""
        return frozenset(name for name, field in cls.model_fields.items() if not field.repr)

    @cached_property
    def secrets(self) -> Secrets:
        """All secrets: each from its setting, else generated on first use and stored in `data_dir`."""
        made = Secrets.load_or_create(self.data_dir)
        chosen = {field.name: getattr(self, field.name, None) for field in fields(Secrets)}
        return replace(made, **{name: value for name, value in chosen.items() if value})

    @property
    def spool_folder(self) -> Path:
        """The folder for events while Postgres is unreachable."""
        return self.spool_dir or self.data_dir / "spool"

    @property
    def metrics_folder(self) -> Path:
        """The folder in which the public API's workers share their metrics; the private API serves them."""
        return self.data_dir / "metrics"

    @property
    def cold_storage(self) -> str:
        """The fsspec URL of the folder that cold months are written to."""
        # not as_uri(): fsspec does not decode percent-encoded spaces
        return self.cold_storage_url or f"file://{self.data_dir / 'cold'}"

    @property
    def backup_folder(self) -> Path:
        """The folder of backups."""
        return self.backup_dir or self.data_dir / "backups"

    @property
    def uses_embedded_postgres(self) -> bool:
        """True if no database address is set, so that the embedded server is used."""
        return self.database_url is None and self.database_direct_url is None

    def was_set(self, name: str) -> bool:
        """Return True if this setting is not a default; the demo may move ports that are defaults."""
        return name in self.model_fields_set


def _require_writable_folder(path: Path, name: str) -> None:
    """Check that a folder is writable or can be created.

    Raises:
        UserError: The folder is not writable and cannot be created.
    """
    try:
        known = next(folder for folder in (path, *path.parents) if folder.exists())
    except OSError as error:
        raise UserError(f"{name} is {path}, which cannot be used: {error.strerror}.", _FOLDER_REMEDY) from error
    if not known.is_dir():
        raise UserError(f"{name} is {path}, but {known} is a file.", _FOLDER_REMEDY)
    if not os.access(known, os.W_OK | os.X_OK):
        raise UserError(f"{name} is {path}, but {known} cannot be written to.", _FOLDER_REMEDY)


_FOLDER_REMEDY = "Set it to a folder that the user of this process may write to."


def load_settings() -> Settings:
    """Read the settings and check them.

    Raises:
        UserError: A value is invalid; the message names the setting.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UserError(
            f"The setting {name} cannot be used: {first['msg']}.", "Correct it in the environment or .env."
        ) from None
