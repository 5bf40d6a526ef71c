"""Write the files of a run: events as JSON Lines, ground truth as CSV."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pandas as pd

from demo.simulation.events import Event

_BUFFER_BYTES = 1 << 20


def write_events(events: Iterable[Event], path: Path) -> int:
    """Write events for `tilda import --format events`, compressed with gzip if the name ends in `.gz`.

    The file is renamed to `path` after it is complete. The same events give the same bytes.

    Returns:
        Number of events written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    encoder = msgspec.json.Encoder()
    buffer = bytearray()
    count = 0
    # Leave name and time out of the gzip header, so that the same events give the same bytes.
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile("", "wb", 5, file, mtime=0) if path.suffix == ".gz" else file as out,
    ):
        for event in events:
            encoder.encode_into(event, buffer, -1)
            buffer += b"\n"
            count += 1
            if len(buffer) >= _BUFFER_BYTES:
                out.write(buffer)
                buffer.clear()
        out.write(buffer)
    unfinished.replace(path)
    return count


def write_truth(truth: pd.DataFrame, site_id: str, path: Path) -> None:
    """Write the true probabilities of one site to a file, for the evaluation of models.

    The ground truth is never written to the database, so that no model can train on it.

    Args:
        truth: Result of `Simulation.truth`.
        site_id: Value of the first column, `site_id`.
        path: CSV file; compressed with gzip if the name ends in `.gz`.
    """
    frame = truth.copy()
    frame.insert(0, "site_id", site_id)
    frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
