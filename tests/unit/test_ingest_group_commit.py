"""Group commit writes the requests of several sites in one flush and returns each request's own outcome."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

from ingest_api.public.sinks.group_commit import GroupCommit, Outcome
from warehouse.events.landing import EventKey
from warehouse.events.schema import Row


def test_one_event_id_of_two_sites_is_counted_per_site() -> None:
    event_id = uuid4()
    flushes: list[Sequence[Row]] = []

    class Postgres:
        async def land(self, rows: Sequence[Row]) -> Counter[EventKey]:
            flushes.append(rows)
            return Counter([("blog", event_id)])  # the shop has it already

    async def submit() -> list[Outcome]:
        commits = GroupCommit(Postgres(), flushers=1)
        requests = [commits.submit([Row(site_id=site, source="api", event_id=event_id)]) for site in ("shop", "blog")]
        waiting = [asyncio.ensure_future(request) for request in requests]
        await asyncio.sleep(0)
        commits.start()
        outcomes = await asyncio.gather(*waiting)
        await commits.stop()
        return outcomes

    assert asyncio.run(submit()) == [Outcome(duplicates=1), Outcome(accepted=1)]
    assert [len(rows) for rows in flushes] == [2]
