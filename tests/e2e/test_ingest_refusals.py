"""Postgres refuses statements: the API answers 503 without spooling, and /ready and the log give the reason."""

from collections.abc import Iterator

import httpx
import pytest

from tests.ingest_server import IngestServer, page_view
from warehouse.kit.database import connect

FAILURES_AND_REPAIRS = [
    (
        "revoke execute on function public.land_events(json) from tilda_ingest",
        "grant execute on function public.land_events(json) to tilda_ingest",
        "42501",
        "permission denied for function land_events",
    ),
    (
        "alter function public.land_events(json) rename to land_events_moved",
        "alter function public.land_events_moved(json) rename to land_events",
        "42883",
        "function public.land_events(",
    ),
    (
        "alter table public.rejected_events rename to rejected_events_moved",
        "alter table public.rejected_events_moved rename to rejected_events",
        "42P01",
        "rejected_events",
    ),
]


@pytest.fixture
def api(ingest_server: IngestServer) -> Iterator[IngestServer]:
    assert ingest_server.send(page_view()).json()["accepted"] == 1
    return ingest_server


@pytest.mark.parametrize(("failure", "repair", "sqlstate", "text"), FAILURES_AND_REPAIRS)
def test_missing_permission_or_function_answers_503_until_it_is_restored(
    api: IngestServer, failure: str, repair: str, sqlstate: str, text: str
):
    run(api, failure)
    event = page_view()
    for _ in range(5):
        answer = api.send(event)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_refuses")
        assert int(answer.headers["retry-after"]) > 0
    ready = httpx.get(f"{api.url}/ready")
    assert (ready.status_code, ready.json()["ready"], ready.json()["database"]) == (503, False, "refuses")
    assert sqlstate in ready.json()["warnings"][0]
    assert ready.json()["spool"]["rows"] == 0, "events are spooled only while Postgres is unreachable or busy"
    log = api.log.read_text()
    assert text in log
    assert log.count("Postgres refuses to store events") == 1, "a repeated error is logged once a minute"

    run(api, repair)
    assert api.send(event).json()["accepted"] == 1
    ready = httpx.get(f"{api.url}/ready")
    assert (ready.status_code, ready.json()["database"], ready.json()["warnings"]) == (200, "reachable", [])


def test_refused_database_login_answers_503(api: IngestServer):
    api.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'tilda_ingest' and pid <> 0")
    run(api, "alter role tilda_ingest nologin")
    try:
        answer = api.send(page_view())
        assert (answer.status_code, answer.json()["code"]) == (503, "database_refuses")
        assert httpx.get(f"{api.url}/ready").json()["database"] == "refuses"
    finally:
        run(api, "alter role tilda_ingest login")
    assert api.send(page_view()).json()["accepted"] == 1


def test_statement_timeout_spools_the_events(api: IngestServer):
    """A timeout means that Postgres is busy, so the rows are spooled to disk and stored later."""
    run(api, "alter function public.land_events(json) rename to land_events_moved")
    run(
        api,
        """
        create function public.land_events(batch json) returns table (site_id text, event_id uuid)
        language plpgsql as $$
        begin raise exception 'canceling statement due to statement timeout' using errcode = '57014'; end $$
        """,
    )
    run(api, "grant execute on function public.land_events(json) to tilda_ingest")
    assert api.send(page_view()).json()["spooled"] == 1


def run(api: IngestServer, statement: str) -> None:
    """Run a statement as the owner."""
    with connect(api.database_url) as connection:
        connection.execute(statement)  # pyright: ignore[reportArgumentType]


def test_refused_origins_are_counted_and_stored_at_shutdown(api: IngestServer):
    api.add_site("blog", "pk_blog", ["blog.example"])
    url = f"{api.url}/api/events?key=pk_blog"
    origins = [
        "https://new-blog.example",
        "https://New-Blog.example",
        "null",
        "not an origin",
        "https://b.blog.example",
    ]
    answers = [httpx.post(url, json=[page_view()], headers={"Origin": origin}).status_code for origin in origins]
    assert answers == [403, 403, 403, 403, 202]
    assert "4 recent requests came from pages" in httpx.get(f"{api.url}/ready").json()["warnings"][0]
    assert api.stop() == 0, "the process writes the counts before it ends"
    assert api.rows("select origin, requests from ops.refused_origins where site_id = 'blog' order by origin") == [
        ("https://new-blog.example", 2),
        ("null", 1),
        ("other", 1),
    ]
