"""Hostile requests cause no 5xx, no hang and no unreadable row. The full run is `python -m bench.hostile`."""

import pytest

from bench.hostile import hostile_bodies, read_all_rows, responses_by_status, schemathesis
from tests.ingest_server import IngestServer, page_view


def assert_api_still_works(server: IngestServer) -> None:
    answers = responses_by_status(server)
    assert not any(status >= 500 for status in answers), answers
    assert server.send(page_view()).json()["accepted"] == 1
    assert read_all_rows(server) > 0


def test_hostile_bodies_cause_no_server_error(shared_ingest: IngestServer):
    answers = hostile_bodies(shared_ingest, 300)
    assert {202, 400} <= set(answers)
    assert_api_still_works(shared_ingest)


def test_schemathesis_finds_no_violation_of_the_schema(shared_ingest: IngestServer):
    schemathesis(shared_ingest, 4)
    assert_api_still_works(shared_ingest)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_hostile_requests_cause_no_server_error(shared_ingest: IngestServer):
    schemathesis(shared_ingest, 300)
    hostile_bodies(shared_ingest, 20_000)
    assert sum(responses_by_status(shared_ingest).values()) > 20_000
    assert_api_still_works(shared_ingest)
