"""The spool: atomic appends, order, size limit, sharing between processes, erasure."""

import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path
from uuid import uuid4

import pytest

from warehouse.events.schema import Row
from warehouse.events.spool import FILE_NAME, KnownSite, Spool, SpoolError

MEGABYTE = 1_048_576


def rows(*names: str) -> list[Row]:
    return [Row(site_id="shop", source="api", event_id=uuid4(), user_id=name, payload={"текст": "й"}) for name in names]


def names(spool: Spool) -> list[str | None]:
    return [row.user_id for _, row in spool.oldest(10_000)]


def test_rows_are_read_back_unchanged_and_in_order(tmp_path: Path):
    spool = Spool(tmp_path, MEGABYTE)
    kept = rows("a", "b", "c")
    spool.append(kept[:2])
    spool.append(kept[2:])
    found = spool.oldest(10)
    assert [row for _, row in found] == kept
    spool.remove_until(found[1][0])
    assert names(spool) == ["c"]
    assert spool.depth().rows == 1


def _append_forever(folder: Path, name: str) -> None:
    spool = Spool(folder, 64 * MEGABYTE)
    for number in range(1_000_000):
        spool.append(rows(f"{name}-{number}", f"{name}-{number}"))
        (folder / name).write_text(str(number))


def test_acknowledged_rows_survive_kills_of_processes_that_share_the_spool(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_forever, args=(tmp_path, name)) for name in ("x", "y")]
    for writer in writers:
        writer.start()
    while not all((tmp_path / name).exists() and int((tmp_path / name).read_text() or 0) > 20 for name in ("x", "y")):
        assert all(writer.is_alive() for writer in writers)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    found = names(Spool(tmp_path, 64 * MEGABYTE))
    for name in ("x", "y"):
        acknowledged = int((tmp_path / name).read_text() or 0)
        own = [found_name for found_name in found if found_name and found_name.startswith(name)]
        assert own == [
            f"{name}-{number}" for number in range(len(own) // 2) for _ in (1, 2)
        ]  # complete appends, in order
        assert len(own) // 2 > acknowledged


def test_a_torn_last_write_loses_only_its_own_rows(tmp_path: Path):
    spool = Spool(tmp_path / "one", MEGABYTE)
    spool.append(rows("first"))
    log = tmp_path / "one" / f"{FILE_NAME}-wal"
    complete_bytes = log.stat().st_size
    spool.append(rows("second"))
    copy = tmp_path / "two"
    copy.mkdir()
    (copy / FILE_NAME).write_bytes((tmp_path / "one" / FILE_NAME).read_bytes())
    (copy / f"{FILE_NAME}-wal").write_bytes(log.read_bytes()[: complete_bytes + 100])
    assert names(Spool(copy, MEGABYTE)) == ["first"]


def test_a_full_spool_rejects_appends_until_it_is_drained(tmp_path: Path):
    spool = Spool(tmp_path, MEGABYTE)
    kept = 0

    def fill() -> None:
        nonlocal kept
        while kept < 100_000:
            spool.append(rows(*["v"] * 20))
            kept += 20

    with pytest.raises(SpoolError):
        fill()
    assert len(names(spool)) == kept > 1000
    assert (tmp_path / FILE_NAME).stat().st_size <= MEGABYTE
    assert (
        tmp_path / f"{FILE_NAME}-wal"
    ).stat().st_size < 6 * MEGABYTE  # SQLite checkpoints the write-ahead log every 4 MB
    spool.remove_until(spool.oldest(kept)[-1][0])
    spool.shrink()
    assert spool.depth().size == 0
    assert (tmp_path / FILE_NAME).stat().st_size < MEGABYTE / 4
    spool.append(rows("again"))
    assert names(spool) == ["again"]


def test_a_damaged_file_is_renamed_and_replaced(tmp_path: Path):
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    spool = Spool(tmp_path, MEGABYTE)
    spool.append(rows("a"))
    assert names(spool) == ["a"]
    assert [file.read_bytes()[:11] for file in tmp_path.glob("*.damaged-*")] == [b"no database"]


def test_one_process_replays_at_a_time(tmp_path: Path):
    one, two = Spool(tmp_path, MEGABYTE), Spool(tmp_path, MEGABYTE)
    with one.replaying() as first, two.replaying() as second:
        assert (first, second) == (True, False)
    with two.replaying() as later:
        assert later


def test_an_erased_visitor_leaves_no_bytes_in_the_files(tmp_path: Path):
    spool = Spool(tmp_path, MEGABYTE)
    spool.append(rows("forget-me", "other", "forget-me"))
    theirs = [number for number, row in spool.of_site("shop") if row.user_id == "forget-me"]
    assert spool.remove(theirs) == 2
    assert spool.remove(theirs) == 0
    assert list(spool.of_site("another")) == []
    assert names(spool) == ["other"]
    for file in tmp_path.glob(f"{FILE_NAME}*"):
        assert b"forget-me" not in file.read_bytes()


def test_spool_files_are_readable_by_their_owner_only(tmp_path: Path):
    folder = tmp_path / "spool"
    spool = Spool(folder, MEGABYTE)
    spool.append(rows("a"))
    assert {file.stat().st_mode & 0o077 for file in [folder, *folder.glob(f"{FILE_NAME}*")]} == {0}


def test_saved_sites_are_replaced_completely(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20)
    assert spool.kept_sites() == []
    shop = KnownSite("pk_1", "shop", ("shop.example", "xn--80a.ru"), {"consent": "opt-out", "query": ["size"]})
    blog = KnownSite("pk_2", "blog", (), {})
    spool.keep_sites([shop, blog])
    spool.close()
    again = Spool(tmp_path, 2**20)
    assert again.kept_sites() == [blog, shop]
    other = KnownSite("pk_3", "shop", (), {})
    again.keep_sites([other])
    assert again.kept_sites() == [other]


def test_a_spool_of_an_earlier_release_keeps_its_sites(tmp_path: Path) -> None:
    Spool(tmp_path, 2**20).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute("drop table sites")
        file.execute("create table sites (public_key text primary key, site_id text, domains text) without rowid")
        file.execute("insert into sites values ('pk_1', 'shop', 'shop.example')")
    for _ in range(2):
        spool = Spool(tmp_path, 2**20)
        assert spool.kept_sites() == [KnownSite("pk_1", "shop", ("shop.example",), {})]
        spool.close()
