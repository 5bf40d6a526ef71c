"""The one settings object: the environment, then `.env`, then the defaults (DESIGN: settings)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from warehouse.addresses import public_address
from warehouse.errors import UserError
from warehouse.installation import BASE_DIR, DATA_DIR
from warehouse.secret_store import Secrets

Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$", max_length=200)]


class Settings(BaseSettings):
    """Every setting, as `.env.example` documents it.

    A port that is taken is an error, whether it was set or not; only the demo moves those that were not set.
    """

    model_config = SettingsConfigDict(
        env_file=BASE_DIR / ".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    database_url: str | None = None
    database_direct_url: str | None = None
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
    rate_limit_storage_url: str | None = None
    spool_dir: Path | None = None
    spool_max_bytes: Annotated[int, Field(ge=65_536)] = 1_073_741_824
    tilda_webhook_token: str | None = None
    events_path: UrlPath = "/api/events"
    collector_path: UrlPath = "/collector.js"
    pixel_path: UrlPath = "/api/pixel.gif"

    max_payload_bytes: Annotated[int, Field(ge=100, le=262_144)] = 10_240
    max_events_per_request: Annotated[int, Field(ge=1, le=10_000)] = 500
    max_request_bytes: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_048_576

    service_key: str | None = None
    reader_key: str | None = None

    archive_after_months: Annotated[int, Field(ge=1, le=1_200)] = 6
    cold_after_months: Annotated[int, Field(ge=1, le=1_200)] = 12
    cold_storage_url: str | None = None

    rejected_keep_days: Annotated[int, Field(ge=1, le=3_650)] = 90
    # A claim may be 35 days older than the event's arrival, and another copy may wait on a spool for 35 days.
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
    mindsdb_password: str | None = None

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

    @cached_property
    def secrets(self) -> Secrets:
        """Secrets that nobody set, made on first use and kept in `data_dir`."""
        return Secrets.load_or_create(self.data_dir)

    @property
    def spool_folder(self) -> Path:
        """Where events wait while Postgres is away."""
        return self.spool_dir or self.data_dir / "spool"

    @property
    def metrics_folder(self) -> Path:
        """Where the public API's workers share their counters; the private API shows them."""
        return self.data_dir / "metrics"

    @property
    def cold_storage(self) -> str:
        """The fsspec URL of the folder that cold months are written to."""
        # not as_uri(): fsspec takes a space for a space
        return self.cold_storage_url or f"file://{self.data_dir / 'cold'}"

    @property
    def backup_folder(self) -> Path:
        """Where backups are."""
        return self.backup_dir or self.data_dir / "backups"

    @property
    def uses_embedded_postgres(self) -> bool:
        """Whether no server was named, so that the embedded one is the database."""
        return self.database_url is None and self.database_direct_url is None

    def was_set(self, name: str) -> bool:
        """Whether a person chose this value; the demo may move a port that nobody chose."""
        return name in self.model_fields_set


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        UserError: A value cannot be used; the message names the setting.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UserError(
            f"The setting {name} cannot be used: {first['msg']}.", "Correct it in the environment or .env."
        ) from error
