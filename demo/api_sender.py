"""Send recent events through the HTTP API, in batches like those of a browser.

The API sets `received_at` to the time of arrival and corrects the visitor's clock by `received_at - sent_at`. The
simulated `sent_at` is older than the request, so it is replaced by the current time plus the visitor's clock error. If
the clock is correct, the API then makes no correction and stores `created_at` unchanged. If the clock is wrong,
`created_at` has the same error, and the correction restores the true time.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

from demo.simulation.events import Event
from warehouse.kit.errors import UserError

BATCH_EVENTS = 10
CRITICAL = frozenset({"form_submit", "signup", "purchase"})
"""Event types that a browser sends at once instead of queueing them."""
_MAX_OPEN_BATCHES = 5_000
_CLOCK_TOLERANCE = timedelta(seconds=60)
"""The tolerance of the API: a smaller difference is network latency, not a clock error."""
_SENT_FIELDS = (
    "event_id",
    "event_type",
    "created_at",
    "session_id",
    "user_id",
    "page_url",
    "page_title",
    "referrer",
    "target_element",
    "target_text",
    "payload",
)
_ATTEMPTS = 5
_MAX_REASONS = 20


@dataclass
class SendResult:
    """Number of events sent, by result.

    Attributes:
        accepted: Events that were stored.
        duplicates: Events that were already stored.
        spooled: Events that the API wrote to its spool because the database was unavailable.
        rejected: Events that failed validation.
        requests: Batches that were sent.
        reasons: The first rejected events, with their errors.
    """

    accepted: int = 0
    duplicates: int = 0
    spooled: int = 0
    rejected: int = 0
    requests: int = 0
    reasons: list[str] = field(default_factory=list[str])

    @property
    def events(self) -> int:
        """Number of events with a result."""
        return self.accepted + self.duplicates + self.spooled + self.rejected

    def add(self, answer: dict[str, Any]) -> None:
        """Add the response to one batch."""
        self.requests += 1
        self.accepted += answer.get("accepted", 0)
        self.duplicates += answer.get("duplicates", 0)
        self.spooled += answer.get("spooled", 0)
        rejected: list[dict[str, Any]] = answer.get("rejected", [])
        self.rejected += len(rejected)
        room = _MAX_REASONS - len(self.reasons)
        self.reasons += [f"{one['event_id']}: {one['code']}: {one['detail']}" for one in rejected[:room]]


@dataclass(frozen=True)
class Sender:
    """Sends events of one site to the ingest API.

    Attributes:
        url: URL of the public API, such as `http://127.0.0.1:8000`.
        public_key: The site's public key.
        service_key: Exempts the requests from the rate limit per IP address.
        concurrency: Maximum number of concurrent requests.
        clock: Returns the current time.
        transport: Replaces the network in tests.
    """

    url: str
    public_key: str
    service_key: str
    concurrency: int = 16
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    transport: httpx.AsyncBaseTransport | None = None

    def send(self, events: Iterable[Event], progress: Callable[[SendResult], None] | None = None) -> SendResult:
        """Send events.

        Args:
            events: Events in order of `received_at`, at most 35 days old and not in the future.
            progress: Called after each batch with the results so far.

        Raises:
            UserError: The API cannot be reached or rejects a request, or an event is in the future.
        """
        return asyncio.run(self._send(events, progress))

    async def _send(self, events: Iterable[Event], progress: Callable[[SendResult], None] | None) -> SendResult:
        delivery = SendResult()
        queue: asyncio.Queue[list[Event] | None] = asyncio.Queue(2 * self.concurrency)

        async def work(client: httpx.AsyncClient) -> None:
            while (batch := await queue.get()) is not None:
                delivery.add(await self._post(client, batch))
                if progress is not None:
                    progress(delivery)

        limits = httpx.Limits(max_connections=self.concurrency)
        try:
            async with (
                httpx.AsyncClient(base_url=self.url, limits=limits, timeout=30, transport=self.transport) as client,
                asyncio.TaskGroup() as group,
            ):
                for _ in range(self.concurrency):
                    group.create_task(work(client))
                for batch in batches(events):
                    await queue.put(batch)
                for _ in range(self.concurrency):
                    await queue.put(None)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return delivery

    async def _post(self, client: httpx.AsyncClient, batch: list[Event]) -> dict[str, Any]:
        headers = {
            "authorization": f"Bearer {self.service_key}",
            "content-type": "text/plain",
            "user-agent": batch[0]["user_agent"],
            "x-forwarded-for": batch[0]["ip_address"],
            "origin": str(httpx.URL(batch[0]["page_url"]).copy_with(raw_path=b"/")).rstrip("/"),
        }
        failure = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.25 * 2**attempt)
            body = msgspec.json.encode(envelope(batch, self.clock()))
            try:
                answer = await client.post(
                    "/api/events", params={"key": self.public_key}, content=body, headers=headers
                )
            except httpx.TransportError as error:
                failure = f"did not respond ({type(error).__name__})"
                continue
            if answer.status_code == 202:
                return answer.json()
            failure = f"answered {answer.status_code}: {_reason(answer)}"
            if answer.status_code != 429 and answer.status_code < 500:
                raise UserError(f"{self.url} {failure}.", "Check the site's public key and the service key.")
        raise UserError(f"{self.url} {failure}.", "Check `tilda status`, then send again; duplicates are ignored.")


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Group the events of each session into batches of 10, or fewer if the last event is critical."""
    open_batches: dict[str, list[Event]] = {}
    for event in events:
        batch = open_batches.setdefault(event["session_id"], [])
        if any(event["event_id"] == known["event_id"] for known in batch):  # a resent event: send it in its own request
            yield [event]
            continue
        batch.append(event)
        if len(batch) == BATCH_EVENTS or event["event_type"] in CRITICAL:
            yield open_batches.pop(event["session_id"])
        elif len(open_batches) > _MAX_OPEN_BATCHES:
            yield open_batches.pop(next(iter(open_batches)))
    yield from open_batches.values()


def envelope(batch: list[Event], now: datetime) -> dict[str, Any]:
    """Return the request body of a batch that is sent at `now`, with `sent_at` by the visitor's clock.

    Raises:
        UserError: An event is in the future.
    """
    first = batch[0]
    clock_error = datetime.fromisoformat(first["sent_at"]) - datetime.fromisoformat(first["received_at"])
    clock_error = clock_error if abs(clock_error) > _CLOCK_TOLERANCE else timedelta()
    latest = max(datetime.fromisoformat(event["received_at"]) for event in batch)
    if latest > now + _CLOCK_TOLERANCE:
        raise UserError(
            f"An event has a time in the future: {latest.isoformat()}.", "End the simulation at the current time."
        )
    sent_events = [{name: event[name] for name in _SENT_FIELDS} for event in batch]
    return {"sent_at": (now + clock_error).isoformat(), "events": sent_events}


def _reason(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return answer.reason_phrase
    return str(problem.get("detail") or problem.get("title") or answer.reason_phrase)
