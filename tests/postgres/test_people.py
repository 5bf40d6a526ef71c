"""A person is found, exported and erased by e-mail address, phone number, order number, external ID or visitor ID."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.postgres.landed import ago, count, event
from tilda.cli import cli
from warehouse.archive import cold, moves
from warehouse.events.landing import IMPORT, land
from warehouse.events.schema import Row
from warehouse.events.spool import Spool
from warehouse.kit.database import PRIVACY_LOGIN, connect, replace_in_url
from warehouse.kit.embedded_postgres import programs
from warehouse.kit.queries import read_query
from warehouse.kit.secret_store import Secrets
from warehouse.kit.settings import Settings
from warehouse.partitions.months import ensure_months
from warehouse.privacy import erase as erasing
from warehouse.privacy.erase import erase, resume
from warehouse.privacy.erased_visitors import returned
from warehouse.privacy.identifier import Identifier
from warehouse.privacy.person import MANY_VISITORS, SQL_DIR
from warehouse.privacy.search import search
from warehouse.sites.registry import add_site

ADDRESS = "anna@example.com"
EMAIL = hashlib.sha256(ADDRESS.encode()).hexdigest()
PHONE = hashlib.sha256(b"79001234567").hexdigest()
BY_EMAIL = ("--email", f" {ADDRESS.title()} ")
ARCHIVED, COLD = date(2015, 5, 1), date(2014, 5, 1)
LINKS = "create table intermediate.int_visitor_links (site_id text, user_id text, link text)"
VISITORS = "create table marts.visitors (site_id text, user_id text, person_id text)"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data")  # pyright: ignore[reportCallIssue]


@pytest.fixture
def shop(database_url: str) -> Iterator[psycopg.Connection]:
    """Return a connection to a database with Boris's events, and with a visitor `anna` of another site."""
    for site in ("shop", "other"):
        add_site(database_url, site, [f"{site}.example"], "UTC")
    with connect(database_url) as connection:
        connection.execute("set timezone = 'UTC'")
        land(
            connection,
            [
                identified("boris", email_sha256="b" * 64, external_id="425"),
                purchase("boris", id="B-1"),
                identified("anna", site_id="other", email_sha256=EMAIL),
            ],
        )
        yield connection


@pytest.fixture
def command(database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs `tilda user` on the database."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DATA_DIR", str(settings.data_dir))

    return lambda *arguments: CliRunner().invoke(cli, ["user", *arguments, "--site", "shop"])


def identified(user_id: str | None, site_id: str = "shop", at: datetime | None = None, **identity: Any) -> Row:
    fields: dict[str, Any] = {"event_type": "identify", "payload": {"identity": identity}, "site_id": site_id}
    return event(at=at or ago(hours=2), user_id=user_id, session_id=None, **fields)


def purchase(user_id: str | None, at: datetime | None = None, more: dict[str, Any] | None = None, **order: Any) -> Row:
    payload = {"order": {"amount": 100} | order} | (more or {})
    return event(at=at or ago(hours=1), user_id=user_id, session_id=None, event_type="purchase", payload=payload)


def archive_events(month: date, connection: psycopg.Connection, settings: Settings, *rows: Row) -> None:
    """Import events into a past month and archive the month. The month COLD is also written to a file."""
    ensure_months(connection, [month])
    land(connection, rows, IMPORT)
    moves.move(connection, month, "archive")
    if month == COLD:
        cold.freeze(connection, month, settings.cold_storage)


def put_on_spool(settings: Settings, *rows: Row) -> None:
    spool = Spool(settings.spool_folder, settings.spool_max_bytes)
    spool.append(rows)
    spool.close()


def at(month: date) -> datetime:
    return datetime(month.year, month.month, 3, tzinfo=UTC)


def store_anna_in_every_place(shop: psycopg.Connection, settings: Settings) -> None:
    """Store events of Anna in every place, with three visitor IDs and without a visitor ID."""
    hashed = {"identity": {"email_sha256": EMAIL}}
    archive_events(
        COLD,
        shop,
        settings,
        identified("anna-old", at=at(COLD), email_sha256=EMAIL.upper()),
        purchase(None, at=at(COLD), more=hashed, id="A-1"),
        identified("boris", at=at(COLD), email_sha256="b" * 64),
    )
    archive_events(ARCHIVED, shop, settings, purchase("anna-laptop", at=at(ARCHIVED), more=hashed, id="A-2"))
    land(
        shop,
        [
            identified("anna-phone", email_sha256=EMAIL, phone_sha256=PHONE, external_id=42),
            event(at=ago(hours=1), user_id="anna-phone", session_id=UUID(int=1)),
            purchase("anna-phone", id=17),
            purchase(None, more=hashed, id="17"),  # the webhook reports the same order
            Row(
                site_id="shop",
                source="webhook",
                reject_code="invalid_payload",
                reject_body=json.dumps({"payload": hashed}),
            ),
        ],
    )
    put_on_spool(settings, purchase(None, more=hashed, id="A-3"), purchase(None, id="B-2"))


def dump_database_and_files(url: str, settings: Settings) -> str:
    """Return the database as text, the rows of cold files, and the bytes of every other file."""
    dump = [programs(18) / "pg_dump", "--data-only", "--inserts", f"--dbname={url}"]
    text = subprocess.run(dump, check=True, capture_output=True).stdout.decode()
    with connect(url) as connection:
        text += repr([batch.to_pylist() for file in cold.list_files(connection) for batch in cold.read(file)])
    files = (path for path in settings.data_dir.rglob("*") if path.is_file() and path.suffix != ".parquet")
    return text + b"".join(path.read_bytes() for path in files).decode(errors="replace")


def test_an_email_address_in_any_single_place_finds_the_visitor(
    shop: psycopg.Connection, settings: Settings, command: Callable[..., Result]
) -> None:
    def identified_in(place: str, moment: datetime | None = None, *, upper: bool = False) -> Row:
        hash_ = hashlib.sha256(f"{place}@example.com".encode()).hexdigest()
        return identified(f"of {place} [x]", at=moment, email_sha256=hash_.upper() if upper else hash_)

    land(
        shop,
        [
            identified_in("live"),
            identified("of payload [x]", email="payload@example.com"),
            event(user_id="of models [x]"),
        ],
    )
    archive_events(ARCHIVED, shop, settings, identified_in("archive", at(ARCHIVED), upper=True))
    archive_events(COLD, shop, settings, identified_in("cold", at(COLD)))
    put_on_spool(settings, identified_in("spool"))
    shop.execute(LINKS)
    link = f"email:{hashlib.sha256(b'models@example.com').hexdigest()}"
    shop.execute("insert into intermediate.int_visitor_links values ('shop', 'of models [x]', %s)", [link])
    for place in ("live", "archive", "cold", "spool", "models", "payload"):
        found = json.loads(command("find", "--email", f"{place}@example.com", "--json").stdout)
        assert [(one["visitor_ids"], one["events"]) for one in found["persons"]] == [([f"of {place} [x]"], 1)]
        assert found["persons"][0]["first_seen_at"] is not None
    assert "of live [x]" in command("find", "--email", "live@example.com").stdout


def test_each_identifier_finds_the_person(
    shop: psycopg.Connection, settings: Settings, command: Callable[..., Result]
) -> None:
    store_anna_in_every_place(shop, settings)
    found: dict[str, Any] = {}
    for option, value in (
        BY_EMAIL,
        ("--phone", "8 (900) 123-45-67"),
        ("--external-id", "42"),
        ("--order", "17"),
        ("--visitor", "anna-phone"),
    ):
        found[option] = json.loads(command("find", option, value, "--json").stdout)
        assert len(found[option]["persons"]) == 1
        ids = {one for one in found[option]["persons"][0]["visitor_ids"] if not one.startswith("anonymous:")}
        assert ids == ({"anna-laptop", "anna-old", "anna-phone"} if option == "--email" else {"anna-phone"})
        assert found[option]["held"]["public.events"] == 4
    (anna,) = found["--email"]["persons"]
    # the browser's and the webhook's events of an order count as one order
    assert (anna["events"], anna["orders"]) == (8, 4)
    assert anna["first_seen_at"].startswith("2014-05-03")
    assert [word for word in (ADDRESS, EMAIL, PHONE) if word in json.dumps(found)] == []


def test_an_unknown_identifier_is_an_error(shop: psycopg.Connection, command: Callable[..., Result]) -> None:
    for what, name in (
        (BY_EMAIL, "e-mail address"),
        (("--phone", "+7 900 000 00 00"), "telephone number"),
        (("--external-id", "42"), "external ID"),
        (("--order", "B"), "order number"),
        (("--visitor", "anna"), "visitor ID"),
    ):
        for verb in (["find"], ["export"], ["erase", "--yes"], ["erase", "--dry-run"]):
            said = command(*verb, *what)
            assert (said.exit_code, said.stdout) == (1, "")
            assert f"Nobody on shop has this {name}." in str(said.exception)
    assert count(shop, "ops.erasures") == count(shop, "ops.erased_visitors") == 0


def test_exactly_one_identifier_is_required(shop: psycopg.Connection, command: Callable[..., Result]) -> None:
    for wrong in ((), ("--email", ADDRESS, "--order", "1"), ("boris", "--visitor", "boris")):
        said = command("find", *wrong)
        assert said.exit_code == 2
        assert "Identify the person by one of --visitor, --email" in said.output
    former = command("find", "boris", "--json")
    assert "USER_ID is deprecated and will be removed. Use --visitor boris." in former.stderr
    assert json.loads(former.stdout)["persons"][0]["visitor_ids"] == ["boris"]


def test_erasing_by_email_removes_the_person_everywhere_and_nobody_else(
    shop: psycopg.Connection, database_url: str, settings: Settings, command: Callable[..., Result], secrets: Secrets
) -> None:
    store_anna_in_every_place(shop, settings)
    # the login of the privacy endpoints may search too
    url = replace_in_url(database_url, user=PRIVACY_LOGIN, password=secrets.privacy_password)
    held = search(url, settings, "shop", Identifier.parse("email", ADDRESS)).held
    before = count(shop, "archive.all_events")
    exported = json.loads(command("export", *BY_EMAIL).stdout)
    assert {place["place"]: place["count"] for place in exported["held"]} == {
        place: rows for place, rows in held.items() if rows
    }
    planned = json.loads(command("erase", *BY_EMAIL, "--dry-run", "--json").stdout)
    assert (planned["dry_run"], planned["removed"]) == (True, held)
    assert count(shop, "archive.all_events") == before

    done = json.loads(command("erase", *BY_EMAIL, "--yes", "--json").stdout)
    assert done["left"] == 0
    assert {place: done["removed"][place] for place in held} == held
    shop.execute("delete from public.events where site_id = 'other'")  # the same visitor ID is another person there
    shop.execute("delete from public.users where site_id = 'other'")
    text = dump_database_and_files(database_url, settings)
    left = ["anna-phone", "anna-laptop", "anna-old", EMAIL, EMAIL.upper(), PHONE, "A-1", "A-2", "A-3"]
    assert [word for word in left if word in text] == []
    assert all(word in text for word in ("B-1", "B-2", "boris"))
    assert command("erase", *BY_EMAIL, "--yes").exit_code == 1


def test_an_interrupted_erasure_by_email_is_completed(
    shop: psycopg.Connection, database_url: str, settings: Settings, command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The interruption comes after the events with the address are deleted; the record still identifies the person."""
    archive_events(COLD, shop, settings, event(at=at(COLD), user_id="anna-phone"))
    land(
        shop, [identified("anna-phone", email_sha256=EMAIL), purchase(None, more={"identity": {"email_sha256": EMAIL}})]
    )
    note, places = erasing._note, iter(range(99))  # pyright: ignore[reportPrivateUsage]

    def interrupt_at_the_third_note(*arguments: Any) -> None:
        if next(places) == 2:
            raise KeyboardInterrupt
        note(*arguments)

    with monkeypatch.context() as cut_short:
        cut_short.setattr(erasing, "_note", interrupt_at_the_third_note)
        assert command("erase", *BY_EMAIL, "--yes").exit_code == 1
    assert count(shop, "events where user_id = 'anna-phone' or user_id is null") == 0
    assert cold.list_files(shop)[0].row_count == 1
    # a visitor with the same address arrived in the meantime
    land(shop, [identified("anna-tablet", email_sha256=EMAIL)])
    assert json.loads(command("erase", *BY_EMAIL, "--yes", "--json").stdout)["left"] == 0
    assert cold.list_files(shop)[0].row_count == 0
    assert count(shop, "events where user_id = 'anna-tablet'") == 0

    # a person without a visitor ID is identified by the address alone
    land(shop, [purchase(None, more={"identity": {"email_sha256": EMAIL}})])
    with monkeypatch.context() as cut_short:
        cut_short.setattr(erasing, "_finish", None)
        assert command("erase", *BY_EMAIL, "--yes").exit_code == 1
    (done,) = resume(database_url, settings)
    assert (done.left, done.removed["public.events"]) == (0, 1)
    assert count(shop, "ops.erasures where finished_at is null") == 0


def run_in_terminal(answer: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run `tilda` on a terminal, type the answer, and return the exit code and the output."""
    master, terminal = pty.openpty()
    with subprocess.Popen(
        [Path(sys.executable).parent / "tilda", *arguments],
        env=os.environ | environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        os.write(master, answer.encode())
        text = b""
        while part := _read(master):
            text += part
    os.close(master)
    return process.returncode, text.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux raises EIO when the other end is closed
        return b""


def test_erasing_asks_for_confirmation(
    shop: psycopg.Connection, database_url: str, settings: Settings, command: Callable[..., Result]
) -> None:
    land(shop, [identified("anna", email_sha256=EMAIL), event(user_id="anna")])
    said = command("erase", *BY_EMAIL)
    assert said.exit_code == 1
    assert "the input is not a terminal. Check the counts with --dry-run, then add --yes." in str(said.exception)
    call = ("user", "erase", "--site", "shop", *BY_EMAIL)
    environment = {"DATABASE_URL": database_url, "DATA_DIR": str(settings.data_dir)}
    code, shown = run_in_terminal("n\n", *call, **environment)
    assert code == 1
    assert re.search(r"Remove these \d+ rows of this person from shop for good\? \[y/N\]", shown)
    assert re.search(r"public\.events +2", shown)
    assert "Nothing was erased." in shown
    assert count(shop, "events where user_id = 'anna' and site_id = 'shop'") == 2
    code, shown = run_in_terminal("y\n", *call, **environment)
    assert (code, "Remaining rows: 0." in shown) == (0, True)
    assert count(shop, "events where user_id = 'anna' and site_id = 'shop'") == 0


def test_several_persons_are_erased_only_with_all(shop: psycopg.Connection, command: Callable[..., Result]) -> None:
    shop.execute(VISITORS)
    persons = {"anna-1": "anna-1", "anna-2": "anna-1", "vera": "vera"}
    for visitor, person in persons.items():
        shop.execute("insert into marts.visitors values ('shop', %s, %s)", [visitor, person])
    shared = [identified(one, email_sha256=EMAIL) for one in ("anna-1", "vera")]
    land(shop, [*shared, event(user_id="anna-2"), purchase(None, more={"identity": {"email_sha256": EMAIL}})])
    found = json.loads(command("find", *BY_EMAIL, "--json").stdout)
    # the order without a visitor ID may belong to either person
    assert [len(one["visitor_ids"]) for one in found["persons"]] == [2, 1, 1]
    assert [one["visitor_ids"] for one in found["persons"]][0::2] == [["anna-1", "anna-2"], ["vera"]]
    for verb in (["export"], ["erase", "--yes"], ["erase", "--dry-run"]):
        said = command(*verb, *BY_EMAIL)
        assert said.exit_code == 1
        assert "persons on shop have this e-mail address." in str(said.exception)
        assert "--visitor" in str(said.exception)
    assert command("erase", "--visitor", "vera", "--yes").exit_code == 0
    assert count(shop, "events where user_id = 'anna-1'") == 1
    assert json.loads(command("erase", *BY_EMAIL, "--yes", "--all", "--json").stdout)["left"] == 0
    assert count(shop, "events where site_id = 'shop' and user_id is distinct from 'boris'") == 0


def test_a_reused_order_number_finds_several_persons(shop: psycopg.Connection, command: Callable[..., Result]) -> None:
    land(shop, [purchase("anna", id="7"), purchase("vera", id="7")])
    found = json.loads(command("find", "--order", "7", "--json").stdout)
    assert [one["visitor_ids"] for one in found["persons"]] == [["anna"], ["vera"]]


def test_an_email_address_shared_by_many_visitors_identifies_nobody(
    shop: psycopg.Connection, command: Callable[..., Result]
) -> None:
    """A shop may enter one placeholder address for all customers without an address."""
    placeholder: dict[str, Any] = {"email_sha256": EMAIL}
    land(shop, [identified(f"visitor {number}", **placeholder) for number in range(MANY_VISITORS + 2)])
    land(shop, [purchase(None, more={"identity": placeholder})])
    done = json.loads(command("erase", "--visitor", "visitor 3", "--yes", "--json").stdout)
    assert done["removed"]["public.events"] == 1
    said = command("erase", *BY_EMAIL, "--yes")
    assert f"{MANY_VISITORS + 2} persons on shop have this e-mail address." in str(said.exception)
    land(shop, [identified(f"visitor {number}", **placeholder) for number in range(100, 200)])
    said = command("erase", *BY_EMAIL, "--yes", "--all")
    assert "so it does not identify a person" in str(said.exception)
    assert count(shop, "events where site_id = 'shop' and user_id like 'visitor%'") == MANY_VISITORS + 101


def test_erasing_an_order_erases_other_orders_with_the_same_email_address(
    shop: psycopg.Connection, command: Callable[..., Result]
) -> None:
    mine, placeholder = {"identity": {"email_sha256": EMAIL}}, {"identity": {"email_sha256": "0" * 64}}
    land(shop, [purchase(None, more=mine, id="1"), purchase(None, more=mine, id="2")])
    land(shop, [purchase(None, more=placeholder, id=f"none {number}") for number in range(MANY_VISITORS + 1)])
    removed = json.loads(command("erase", "--order", "1", "--yes", "--json").stdout)["removed"]
    assert removed["public.events"] == 2
    removed = json.loads(command("erase", "--order", "none 1", "--yes", "--json").stdout)["removed"]
    assert removed["public.events"] == 1


def test_a_numeric_external_id_finds_all_events_that_contain_it(
    shop: psycopg.Connection, settings: Settings, command: Callable[..., Result]
) -> None:
    archive_events(
        COLD,
        shop,
        settings,
        *(identified(None, at=at(COLD), external_id=number, plan="pro") for number in (42, 425)),
        *(identified(None, at=at(COLD), external_id=number) for number in (42, 424)),
    )
    land(
        shop, [identified("anna", external_id=42), identified(None, external_id=42), identified(None, external_id=421)]
    )
    removed = json.loads(command("erase", "--visitor", "anna", "--yes", "--json").stdout)["removed"]
    assert (removed["public.events"], removed["cold files"]) == (2, 2)


def test_an_erased_event_without_a_visitor_id_is_recognised_after_a_restore(
    shop: psycopg.Connection, database_url: str, settings: Settings, command: Callable[..., Result]
) -> None:
    order = purchase(None, more={"identity": {"email_sha256": EMAIL}}, id="A-1")
    land(shop, [order, purchase(None, id="B-2")])
    assert command("erase", *BY_EMAIL, "--yes").exit_code == 0
    assert returned(shop) == []
    land(shop, [order])  # as after the restore of a backup
    assert returned(shop) == [("shop", f"anonymous:{order.event_id}")]
    assert erase(database_url, settings, *returned(shop)[0]).removed["public.events"] == 1


def test_searching_live_months_uses_indexes(shop: psycopg.Connection) -> None:
    values = {"site": "shop", "ids": ["anna"], "sessions": [], "anonymous": [], "many": MANY_VISITORS}
    values["fragments"] = [json.dumps(one) for one in Identifier.parse("email", ADDRESS).fragments]
    for name in ("live_visitors", "identities"):
        with shop.transaction():
            shop.execute("set local enable_seqscan = off")
            plan = shop.execute("explain " + read_query(SQL_DIR, name), values).fetchall()
        assert not [line for (line,) in plan if "Seq Scan on events" in line]
