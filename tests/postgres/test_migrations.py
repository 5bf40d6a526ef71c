from __future__ import annotations

import threading

from warehouse import migrations
from warehouse.database import connect, replace_in_url


def test_a_second_run_applies_nothing(database_url: str) -> None:
    assert migrations.migrate(database_url) == []
    assert migrations.pending_sql(database_url) == ""


def test_pending_sql_is_what_an_empty_database_lacks(database_url: str) -> None:
    empty = replace_in_url(database_url, database="postgres")
    pending = migrations.pending_sql(empty)
    assert pending.index("create table public.sites") < pending.index("create table public.events")


def test_two_at_once_apply_each_file_once(database_url: str) -> None:
    with connect(database_url) as admin:
        admin.execute("create database twice")
    url = replace_in_url(database_url, database="twice")
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrations.migrate(url))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect(database_url) as admin:
        admin.execute("drop database twice with (force)")
    assert sorted(map(len, applied)) == [0, len(list(migrations.SQL_DIR.glob("*.sql")))]
