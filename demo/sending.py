"""Recent events through the real HTTP API, in batches as a browser sends them.

The API stamps the moment of arrival itself and corrects a sender's clock by `received_at - sent_at`. A batch that was
simulated as of yesterday therefore goes with `sent_at` = now by the sender's clock: now for nearly all, so that no
correction is made and `created_at` stands; now plus the error of a clock that is wrong, whose `created_at` is wrong by
the same error, so that the correction finds the true time. A late phone is nothing special here: its events are older.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec

from demo.events import Event
from warehouse.errors import UserError

BATCH_EVENTS = 10
CRITICAL = frozenset({"form_submit", "signup", "purchase"})
"""What a browser sends at once."""
_OPEN_BATCHES = 5_000
_CLOCK_TOLERANCE = timedelta(seconds=60)
"""The API's own: smaller differences are the way's, not the clock's."""
_BROWSER_WRITES = (
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
_TOLD_REJECTIONS = 20


@dataclass
class Delivery:
    """What became of the events sent.

    Attributes:
        accepted: Stored now.
        duplicates: Known already.
        spooled: Taken while the database was away.
        rejected: Refused one by one; `reasons` tells the first of them.
        requests: Batches sent.
    """

    accepted: int = 0
    duplicates: int = 0
    spooled: int = 0
    rejected: int = 0
    requests: int = 0
    reasons: list[str] = field(default_factory=list[str])

    @property
    def events(self) -> int:
        """All that were answered for."""
        return self.accepted + self.duplicates + self.spooled + self.rejected

    def add(self, answer: dict[str, Any]) -> None:
        """Count the answer to one batch."""
        self.requests += 1
        self.accepted += answer.get("accepted", 0)
        self.duplicates += answer.get("duplicates", 0)
        self.spooled += answer.get("spooled", 0)
        rejected: list[dict[str, Any]] = answer.get("rejected", [])
        self.rejected += len(rejected)
        room = _TOLD_REJECTIONS - len(self.reasons)
        self.reasons += [f"{one['event_id']}: {one['code']}: {one['detail']}" for one in rejected[:room]]


@dataclass(frozen=True)
class Sender:
    """Sends events to one site's API.

    Attributes:
        url: Address of the public app, such as `http://127.0.0.1:8000`.
        public_key: The site's.
        service_key: Frees these requests from the limit for one address.
        concurrency: Requests under way at a time.
        clock: The time.
        transport: Another way to the server than the network.
    """

    url: str
    public_key: str
    service_key: str
    concurrency: int = 16
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    transport: httpx.AsyncBaseTransport | None = None

    def send(self, events: Iterable[Event], progress: Callable[[Delivery], None] | None = None) -> Delivery:
        """Send events, given in order of `received_at`.

        Args:
            events: Events of the last 35 days at most; none may come from the future.
            progress: Told how far it is after each batch.

        Raises:
            UserError: The API cannot be reached, refuses a request, or an event is from the future.
        """
        return asyncio.run(self._send(events, progress))

    async def _send(self, events: Iterable[Event], progress: Callable[[Delivery], None] | None) -> Delivery:
        delivery = Delivery()
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
        refusal = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.25 * 2**attempt)
            body = msgspec.json.encode(envelope(batch, self.clock()))
            try:
                answer = await client.post(
                    "/api/events", params={"key": self.public_key}, content=body, headers=headers
                )
            except httpx.TransportError as error:
                refusal = f"did not answer ({type(error).__name__})"
                continue
            if answer.status_code == 202:
                return answer.json()
            refusal = f"answered {answer.status_code}: {_reason(answer)}"
            if answer.status_code != 429 and answer.status_code < 500:
                raise UserError(f"{self.url} {refusal}.", "Check the site's public key and the service key.")
        raise UserError(f"{self.url} {refusal}.", "Look at `tilda status`, then send again: nothing is stored twice.")


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Gather each session's events: ten, or fewer when one of them must not wait."""
    gathering: dict[str, list[Event]] = {}
    for event in events:
        batch = gathering.setdefault(event["session_id"], [])
        if any(event["event_id"] == known["event_id"] for known in batch):  # sent again: by itself, as it was then
            yield [event]
            continue
        batch.append(event)
        if len(batch) == BATCH_EVENTS or event["event_type"] in CRITICAL:
            yield gathering.pop(event["session_id"])
        elif len(gathering) > _OPEN_BATCHES:
            yield gathering.pop(next(iter(gathering)))
    yield from gathering.values()


def envelope(batch: list[Event], now: datetime) -> dict[str, Any]:
    """The body that the batch's browser would send at this moment, by its own clock.

    Raises:
        UserError: An event is from the future.
    """
    first = batch[0]
    ahead = datetime.fromisoformat(first["sent_at"]) - datetime.fromisoformat(first["received_at"])
    ahead = ahead if abs(ahead) > _CLOCK_TOLERANCE else timedelta()
    latest = max(datetime.fromisoformat(event["received_at"]) for event in batch)
    if latest > now + _CLOCK_TOLERANCE:
        raise UserError(
            f"An event is from {latest.isoformat()}, which has not come yet.", "Simulate up to now, no further."
        )
    written = [{name: event[name] for name in _BROWSER_WRITES} for event in batch]
    return {"sent_at": (now + ahead).isoformat(), "events": written}


def _reason(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return answer.reason_phrase
    return str(problem.get("detail") or problem.get("title") or answer.reason_phrase)
