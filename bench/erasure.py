"""Measure the time to find one of many visitors by e-mail address and to erase the visitor.

`python -m bench.erasure` starts its own embedded Postgres and fills a live, an archived and a cold month. It searches
for the e-mail address of one visitor, erases this visitor, and prints the time of each step in seconds. It then counts
how often the visitor's ID remains in a dump of the database and in all files; the number must be 0.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.types.json import Jsonb
from rich.console import Console

from tests.embedded import migrated_database, running_postgres
from warehouse.archive import cold, moves
from warehouse.events.identity import email_sha256
from warehouse.kit.database import connect
from warehouse.kit.embedded_postgres import programs
from warehouse.kit.settings import Settings
from warehouse.partitions.months import ensure_months
from warehouse.privacy.erase import erase_person
from warehouse.privacy.identifier import Identifier
from warehouse.privacy.search import search
from warehouse.sites.registry import add_site

out = Console(highlight=False)
PORT = 55950
ADDRESS = "visitor@example.com"

# The events of a visitor are spread over the table, as in production.
FILL: LiteralString = """
insert into public.events (
    created_at, received_at, event_id, session_id, site_id, user_id, event_type, source, page_url, user_agent, payload
)
select
    at, at, gen_random_uuid(), md5(month || '/' || visitor || '/' || n / (visitors * 5))::uuid, 'shop',
    'visitor-' || lpad(visitor::text, 12, '0'), 'page_view', 'api', 'https://shop.example/page/' || mod(n, 100),
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36',
    jsonb_build_object('page', jsonb_build_object('width', 1280, 'height', mod(n, 5000)))
from (
    select
        n, mod(n, visitors) as visitor, visitors, %(month)s::text as month,
        %(month)s::timestamptz + n * (interval '20 days' / %(events)s) as at
    from generate_series(1, %(events)s::bigint) as n
    cross join (select %(visitors)s::bigint as visitors) as v
) as made
"""


def fill(connection: psycopg.Connection, month: date, events: int, visitors: int) -> None:
    """Insert `events` events of a month, spread evenly over all visitors."""
    ensure_months(connection, [month])
    values = {"month": f"{month} 00:00+00", "events": events, "visitors": visitors}
    connection.execute(FILL, values)


def main() -> None:
    """Run the benchmark and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_500_000, help="events in each of the three months")
    parser.add_argument("--visitors", type=int, default=100_000)
    arguments = parser.parse_args()
    today = datetime.now(UTC).date().replace(day=1)
    with (
        tempfile.TemporaryDirectory() as place,
        running_postgres(Path(place) / "postgres", PORT, secrets.token_hex(8)) as server,
    ):
        url = migrated_database(server, "tilda")
        measure(url, Path(place) / "data", [today, date(2015, 5, 1), date(2014, 5, 1)], arguments)


def measure(url: str, folder: Path, months: list[date], arguments: argparse.Namespace) -> None:
    """Fill the months (newest live, next archived, oldest cold), erase one visitor, and print the results."""
    settings = Settings(_env_file=None, data_dir=folder)  # pyright: ignore[reportCallIssue]
    add_site(url, "shop", ["shop.example"], "UTC")
    with connect(url) as connection:
        connection.execute("set timezone = 'UTC'")
        for month in months:
            fill(connection, month, arguments.events, arguments.visitors)
        for month in months[1:]:
            moves.move(connection, month, "archive")
        cold.freeze(connection, months[2], settings.cold_storage)
        connection.execute("analyze")
    out.print(f"{3 * arguments.events:,} events of {arguments.visitors:,} visitors: live, archived and cold")
    visitor = f"visitor-{arguments.visitors // 2:012}"
    with connect(url) as connection:
        identity = Jsonb({"identity": {"email_sha256": email_sha256(ADDRESS)}})
        connection.execute(
            "insert into public.events (site_id, user_id, event_type, payload) values ('shop', %s, 'identify', %s)",
            [visitor, identity],
        )
    started = time.monotonic()

    def say(text: str) -> None:
        out.print(f"{time.monotonic() - started:8.2f} s  {text}")

    found = search(url, settings, "shop", Identifier.parse("email", ADDRESS), say=say)
    say(f"found {found.persons[0].visitor_ids} with {found.persons[0].events} events")
    started = time.monotonic()
    done = erase_person(url, settings, found.everybody, say=say)
    out.print(f"{done.seconds:8.2f} s  in total; left: {done.left}; removed: {done.removed}")
    out.print(
        f"occurrences of the visitor's ID in the database and all files: {count_occurrences(url, settings, visitor)}"
    )


def count_occurrences(url: str, settings: Settings, visitor: str) -> int:
    """Return how often the visitor's ID occurs in a dump of the database, in rows of cold files, and in all files."""
    dump = subprocess.run([programs(18) / "pg_dump", "--data-only", f"--dbname={url}"], check=True, capture_output=True)
    found = dump.stdout.count(visitor.encode())
    with connect(url) as connection:
        for file in cold.list_files(connection):
            found += sum(str(batch.column("user_id").to_pylist()).count(visitor) for batch in cold.read(file))
    return found + sum(
        path.read_bytes().count(visitor.encode()) for path in settings.data_dir.rglob("*") if path.is_file()
    )


if __name__ == "__main__":
    main()
