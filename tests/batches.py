"""The two steps by which the API reads a request's body, in one call."""

from warehouse.events.schema import Limits
from warehouse.events.validation import Batch, open_envelope, parse_events


def read_batch(body: bytes, limits: Limits | None = None) -> Batch:
    """Read all events of a body.

    Raises:
        BatchError: The body as a whole cannot be read.
    """
    limits = limits or Limits()
    return parse_events(open_envelope(body, limits).events, limits)
