"""Hostile requests: no 5xx, no hang, no row that cannot be read. The full form is `python -m bench.hostile`."""

import pytest

from bench.hostile import answered, hostile_bodies, judge_rows, schemathesis
from tests.ingest_server import IngestServer, page_view


def assert_unharmed(server: IngestServer) -> None:
    answers = answered(server)
    assert not any(status >= 500 for status in answers), answers
    assert server.send(page_view()).json()["accepted"] == 1
    assert judge_rows(server) > 0


def test_hostile_bodies(shared_ingest: IngestServer):
    answers = hostile_bodies(shared_ingest, 300)
    assert {202, 400} <= set(answers)
    assert_unharmed(shared_ingest)


def test_schemathesis_finds_nothing(shared_ingest: IngestServer):
    schemathesis(shared_ingest, 4)
    assert_unharmed(shared_ingest)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_hostile_requests(shared_ingest: IngestServer):
    schemathesis(shared_ingest, 300)
    hostile_bodies(shared_ingest, 20_000)
    assert sum(answered(shared_ingest).values()) > 20_000
    assert_unharmed(shared_ingest)
