"""One interface to the received events, in the real API's database or in the stub's memory."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from tests.ingest_server import IngestServer

T = TypeVar("T")
Event = dict[str, Any]


def wait_until(condition: Callable[[], T | None], seconds: float = 10) -> T:
    """Call `condition` until its result is truthy and return the result. Fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"the condition was not met within {seconds} s"
        time.sleep(0.05)
    return found


class EventLog(ABC):
    """Accepted events without duplicates, in the order of the sender's clock."""

    url: str
    site_key: str
    script = "/collector.js"
    """Path and query of the script in the pages of a test site."""

    @property
    @abstractmethod
    def events(self) -> list[Event]: ...

    def of_type(self, *types: str) -> list[Event]:
        return [event for event in self.events if event["event_type"] in types]

    def wait_for(self, *types: str, count: int = 1, seconds: float = 10) -> list[Event]:
        """Wait for at least `count` events of these types and return all of them."""
        return wait_until(lambda: found if len(found := self.of_type(*types)) >= count else None, seconds)


class RealApi(EventLog):
    """The rows of one site in Postgres, stored by the real ingest API."""

    def __init__(self, server: IngestServer, site_id: str) -> None:
        self.server = server
        self.site_id = site_id
        self.site_key = f"pk_{site_id}"
        self.script = f"/collector.js?key={self.site_key}"
        server.add_site(site_id, self.site_key, collector={"consent": "opt-out"})

    @property
    def url(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.server.url

    @property
    def events(self) -> list[Event]:
        rows = self.server.rows(
            "select to_jsonb(e) from public.events e where site_id = %s order by created_at, id", self.site_id
        )
        return [row[0] for row in rows]

    @property
    def rejected(self) -> list[tuple[Any, ...]]:
        return self.server.rows("select code, detail from public.rejected_events where site_id = %s", self.site_id)
