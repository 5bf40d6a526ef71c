from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from warehouse.kit.conninfo import as_url, parameters
from warehouse.kit.database import ConnectionFailedError, connect, replace_in_url, url_with_passfile, without_password
from warehouse.kit.errors import UserError
from warehouse.kit.settings import Settings

URL = "postgresql://owner.tenant:p%40ss%3Aword@db.example:6543/main?sslmode=require"
IN_QUERY = "postgresql://ignored:also@db.example/main?user=postgres&password=s3cretword"
KEY_VALUE = r"host=db.example dbname='my db' user=owner password='it\'s s3cretword'"
SOCKET = "postgresql:///main?host=/var/run/postgresql&user=owner&password=s3cretword"
SEVERAL = "postgresql://owner:s3cretword@one:5432,two:5433/main?target_session_attrs=read-write"


def test_without_password_removes_the_password() -> None:
    assert without_password(URL) == "postgresql://owner.tenant@db.example:6543/main?sslmode=require"


@pytest.mark.parametrize("url", [IN_QUERY, KEY_VALUE, SOCKET, SEVERAL])
def test_replacing_the_login_works_in_every_form_of_url(url: str) -> None:
    ingest = conninfo_to_dict(replace_in_url(url, user="tilda_ingest", password="x/y"))
    assert (ingest["user"], ingest["password"]) == ("tilda_ingest", "x/y")
    assert "s3cretword" not in str(ingest)
    others = {"user", "password"}
    owner = conninfo_to_dict(url)
    assert {k: v for k, v in ingest.items() if k not in others} == {k: v for k, v in owner.items() if k not in others}
    assert "s3cretword" not in without_password(url)


def test_replacing_the_login_drops_the_owners_credentials() -> None:
    owner = f"{URL}&sslcert=/owner.crt&sslkey=/owner.key&sslpassword=x&passfile=/owner.pgpass&sslrootcert=/ca.crt"
    assert conninfo_to_dict(replace_in_url(owner, user="tilda_ingest", password="x/y")) == {
        "user": "tilda_ingest.tenant", "password": "x/y", "host": "db.example", "port": "6543", "dbname": "main",
        "sslmode": "require", "sslrootcert": "/ca.crt",
    }  # fmt: skip


def test_replacing_the_database_changes_only_the_database() -> None:
    assert conninfo_to_dict(replace_in_url(URL, database="dagster")) == conninfo_to_dict(URL) | {"dbname": "dagster"}


def test_the_database_defaults_to_the_user_name() -> None:
    assert parameters("postgresql://owner@db.example")["dbname"] == "owner"


def test_a_service_is_read_from_the_service_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pg_service.conf"
    file.write_text("[shop]\nhost=db.example\nport=6543\ndbname=main\nuser=owner\npassword=s3cretword\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    found = parameters("postgresql://?service=shop&dbname=other")
    assert {key: found[key] for key in ("host", "port", "dbname", "user")} == {
        "host": "db.example", "port": "6543", "dbname": "other", "user": "owner",
    }  # fmt: skip
    assert conninfo_to_dict(replace_in_url("service=shop", user="tilda_ingest", password="x")) == {
        "host": "db.example", "port": "6543", "dbname": "main", "user": "tilda_ingest", "password": "x",
    }  # fmt: skip
    with pytest.raises(UserError, match='"shpo" not found'):
        connect("service=shpo")


@pytest.mark.parametrize(
    "address",
    [
        "mysql://owner:s3cretword@db.example/main",
        "postgresql+psycopg://owner:s3cretword@db.example/main",
        "https://db.example/s3cretword",
        "s3cretword",
        "postgresql://owner:12/s3cretword@db.example/main",
        "postgresql://owner:s3cr@tword@db.example/main",
        "postgresql://owner:s3cret%word@db.example/main",
        "postgresql://owner:s3cretword@db.example:port/main",
        "postgresql://owner:s3cretword@db.example:70000/main",
        "postgresql://owner:s3cretword@db.example/main?pgbouncer=true",
        "host=db.example password=my s3cretword",
        "postgresql://db.example?user=owner&password=s3cret@word",
        "postgresql://owner:s3cretword@db.example/main?options=\udcff",
    ],
)
def test_an_invalid_url_is_rejected_without_showing_the_password(address: str) -> None:
    with pytest.raises(UserError) as refused:
        connect(address)
    with pytest.raises(UserError) as by_settings:
        Settings(_env_file=None, database_url=address)  # pyright: ignore[reportCallIssue]
    for error in (refused.value, by_settings.value):
        assert error.remedy
        assert not any(part in str(error) for part in ("s3c", "word@", "tword"))
    assert by_settings.value.message.startswith("DATABASE_URL ")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=20))
@example("12/3?user=secret")
@example("p@ss:word#1")
def test_an_unescaped_password_works_or_is_rejected_and_is_never_shown(password: str) -> None:
    address = f"postgresql://owner:{password}@127.0.0.1:1/main"
    assume(password not in "postgresql://owner@127.0.0.1:1/main")
    with pytest.raises(UserError) as failed:  # no server listens on port 1
        connect(address)
    assert password not in str(failed.value)
    if isinstance(failed.value, ConnectionFailedError):
        assert conninfo_to_dict(replace_in_url(address, database="dagster"))["host"] == "127.0.0.1"
        assert password not in without_password(address)


values = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.fixed_dictionaries(
        {"host": st.sampled_from(["db.example", "::1", "/var/run/postgresql", "one,two"]), "user": values},
        optional={
            "password": values,
            "dbname": values,
            "port": st.sampled_from(["5432", "6543"]),
            "sslmode": st.sampled_from(["require", "disable"]),
            "application_name": values,
            "passfile": values,
        },
    )
)
def test_libpq_and_sqlalchemy_read_the_same_parameters_from_a_url(given_parameters: dict[str, str]) -> None:
    given_parameters.setdefault("dbname", given_parameters["user"])
    url = as_url(make_conninfo("", **given_parameters))
    _, options = PGDialect_psycopg2().create_connect_args(make_url(url))
    for found in (conninfo_to_dict(url), options):
        read: dict[str, Any] = {key: str(value) for key, value in found.items()}
        ports = {port for port in read.pop("port", "").split(",") if port}  # SQLAlchemy lists one port per host
        assert ports == {given_parameters["port"]} if "port" in given_parameters else not ports
        assert read == {key: value for key, value in given_parameters.items() if key != "port"}


def test_the_passfile_is_private_and_follows_libpqs_format(tmp_path: Path) -> None:
    passfile = tmp_path / "some folder" / "pgpass"
    shown = url_with_passfile(URL, passfile)
    assert "word" not in shown
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    # psycopg parses with libpq. The passfile format requires colons in a password to be escaped.
    assert psycopg.conninfo.conninfo_to_dict(shown)["passfile"] == str(passfile)
    assert passfile.read_text() == "*:*:*:owner.tenant:p@ss\\:word\n"


def test_a_url_without_a_password_needs_no_passfile(tmp_path: Path) -> None:
    url = "postgresql://owner@db.example/main"
    assert url_with_passfile(url, tmp_path / "pgpass") == url
