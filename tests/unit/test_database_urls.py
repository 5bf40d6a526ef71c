from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from warehouse.database import replace_in_url, url_with_passfile, without_password

URL = "postgresql://owner.tenant:p%40ss%3Aword@db.example:6543/main?sslmode=require"


def test_a_shown_address_holds_no_password() -> None:
    shown = without_password(URL)
    assert shown == "postgresql://owner.tenant@db.example:6543/main?sslmode=require"


def test_another_login_keeps_the_poolers_tenant_and_the_options() -> None:
    url = replace_in_url(URL, user="tilda_ingest", password="x/y")
    assert url == "postgresql://tilda_ingest.tenant:x%2Fy@db.example:6543/main?sslmode=require"


def test_another_database_on_the_same_server() -> None:
    assert urlsplit(replace_in_url(URL, database="dagster")).path == "/dagster"


def test_the_passfile_is_for_its_owner_and_libpq_can_read_it(tmp_path: Path) -> None:
    passfile = tmp_path / "some folder" / "pgpass"
    shown = url_with_passfile(URL, passfile)
    assert "word" not in shown
    assert parse_qs(urlsplit(shown).query)["passfile"] == [str(passfile)]
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    # libpq's own parser reads the address; colons of a password are escaped in its file format
    assert psycopg.conninfo.conninfo_to_dict(shown)["passfile"] == str(passfile)
    assert passfile.read_text() == "*:*:*:owner.tenant:p@ss\\:word\n"


def test_an_address_without_a_password_is_shown_as_it_is(tmp_path: Path) -> None:
    url = "postgresql://owner@db.example/main"
    assert url_with_passfile(url, tmp_path / "pgpass") == url
