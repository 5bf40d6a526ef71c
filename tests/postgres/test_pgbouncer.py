"""Both APIs work behind PgBouncer in transaction mode, which hosted databases use. `make servers` installs PgBouncer.

Without PgBouncer, conftest.py skips this file and says so in the report header.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.ingest_server import IngestServer
from tests.postgres.conftest import PGBOUNCER
from tests.postgres.landed import at_once, count
from warehouse.kit.database import INGEST_LOGIN, READER_LOGIN, connect, replace_in_url
from warehouse.kit.embedded_postgres import SYSTEM_USER
from warehouse.kit.ports import free_port
from warehouse.kit.secret_store import Secrets

CONNECTIONS = 2
START_SECONDS = 30


@pytest.fixture
def pooler_url(database_url: str, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the database's URL through a PgBouncer with fewer server connections than clients."""
    assert PGBOUNCER is not None
    folder = tmp_path_factory.mktemp("pgbouncer")
    server, port = conninfo_to_dict(database_url), free_port(56432)
    users = {INGEST_LOGIN: secrets.ingest_password, READER_LOGIN: secrets.reader_password}
    (folder / "users.txt").write_text("".join(f'"{name}" "{password}"\n' for name, password in users.items()))
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server['host']} port={server['port']}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
        f"auth_file = {folder / 'users.txt'}\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
    )
    user = pwd.getpwnam(SYSTEM_USER) if os.geteuid() == 0 else None  # PgBouncer refuses to run as root
    if user is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
        for parent in folder.parents:
            if parent.owner() == "root" and parent.is_relative_to("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o011)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PGBOUNCER, str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
    url = f"postgresql://127.0.0.1:{port}/{server['dbname']}"
    try:
        _wait_until_ready(replace_in_url(url, user=READER_LOGIN, password=secrets.reader_password), process, folder)
        yield url
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, prepare_threshold=None).close()
        except psycopg.OperationalError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        else:
            return


def test_events_land_and_scores_are_read_through_a_transaction_pooler(
    database_url: str, pooler_url: str, secrets: Secrets, tmp_path: Path
) -> None:
    ingest = IngestServer(database_url, secrets, tmp_path, {"RATE_LIMIT_PER_IP": "off"})
    ingest.add_site(ingest.site_id, ingest.site_key)
    ingest.settings["DATABASE_URL"] = replace_in_url(pooler_url, user=INGEST_LOGIN, password=secrets.ingest_password)
    private = IngestServer(database_url, secrets, tmp_path, application="private")
    private.settings["DATABASE_URL"] = replace_in_url(pooler_url, user=READER_LOGIN, password=secrets.reader_password)
    ingest.start()
    private.start()
    try:

        def send() -> list[dict[str, int]]:
            answers: list[dict[str, int]] = []
            with httpx.Client(timeout=60) as client:
                for _ in range(5):
                    batch = [{"event_id": str(uuid4()), "event_type": "page_view", "user_id": "u"} for _ in range(10)]
                    for _ in range(2):  # the second request is a resend, perhaps on another connection
                        answer = client.post(ingest.events_url, content=json.dumps(batch))
                        assert answer.status_code == 202, answer.text
                        answers.append(answer.json())
            return answers

        answers = [answer for answers in at_once(*[send] * 4) for answer in answers]
        assert sum(answer["accepted"] for answer in answers) == 200
        assert sum(answer["duplicates"] for answer in answers) == 200
        key = {"Authorization": f"Bearer {secrets.reader_key}"}
        scores = httpx.get(f"{private.url}/api/propensity", params={"site": "shop"}, headers=key, timeout=60)
        assert (scores.status_code, scores.json()["scores"]) == (200, [])
    finally:
        ingest.kill()
        private.kill()
    with connect(database_url) as owner:
        assert count(owner, "events") == 200
        assert count(owner, "pg_stat_activity where usename = 'tilda_ingest'") <= CONNECTIONS
