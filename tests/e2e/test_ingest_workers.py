"""Several workers safely share one database, one spool folder and one set of metrics."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.e2e.conftest import running_ingest
from tests.ingest_server import page_view
from warehouse.kit.embedded_postgres import EmbeddedPostgres
from warehouse.kit.secret_store import Secrets


def test_concurrent_retries_of_shared_sessions_do_not_deadlock(
    postgres_server: EmbeddedPostgres, secrets: Secrets, tmp_path: Path
):
    settings = {"RATE_LIMIT_PER_IP": "off", "INGEST_WORKERS": "4"}
    sessions = [page_view()["session_id"] for _ in range(15)]
    dice = random.Random(1)
    batches = [
        [page_view(session_id=dice.choice(sessions), user_id=f"v{dice.randrange(15)}") for _ in range(20)]
        for _ in range(60)
    ]
    requests = [batch for batch in batches for _ in range(3)]
    dice.shuffle(requests)
    with running_ingest(postgres_server, secrets, tmp_path, settings) as server, ThreadPoolExecutor(16) as pool:

        def send(batch: list[dict[str, object]]) -> tuple[int, int]:
            shuffled = random.sample(batch, len(batch))
            # A new connection for each request lets the kernel distribute requests over the workers.
            answer = httpx.post(server.events_url, json=shuffled, timeout=60)
            assert answer.status_code == 202, answer.text
            return answer.json()["accepted"], answer.json()["duplicates"]

        answers = list(pool.map(send, requests))
        assert sum(accepted for accepted, _ in answers) == server.count() == 60 * 20
        assert sum(duplicates for _, duplicates in answers) == 2 * 60 * 20
        assert server.rows("select sum(event_count) from public.sessions") == [(1200,)]

        counted = server.metrics()
        assert counted["tilda_events_accepted_total"] == 1200  # over all workers
        assert counted["tilda_events_duplicate_total"] == 2400
        assert server.stop() == 0
