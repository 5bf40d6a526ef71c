"""Read a request body as the API does: open the envelope, then validate each event."""

from warehouse.events.schema import Limits
from warehouse.events.validation import Batch, open_envelope, parse_events


def read_batch(body: bytes, limits: Limits | None = None) -> Batch:
    """Return the accepted and rejected events of a body.

    Raises:
        BatchError: The body is not a batch.
    """
    limits = limits or Limits()
    return parse_events(open_envelope(body, limits).events, limits)
