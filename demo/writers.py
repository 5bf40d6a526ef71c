"""Files of a run: its events as JSON Lines, and the truth as CSV."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pandas as pd

from demo.events import Event

_PIECE = 1 << 20


def write_events(events: Iterable[Event], path: Path) -> int:
    """Write events for `tilda import --format events`, compressed if the name ends in `.gz`.

    The file appears under its name when it is complete, and the same events give the same bytes.

    Returns:
        How many events were written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    encoder = msgspec.json.Encoder()
    piece = bytearray()
    count = 0
    # A gzip header without a name and a time, so that the same events make the same file.
    with (
        unfinished.open("wb") as file,
        gzip.GzipFile("", "wb", 5, file, mtime=0) if path.suffix == ".gz" else file as out,
    ):
        for event in events:
            encoder.encode_into(event, piece, -1)
            piece += b"\n"
            count += 1
            if len(piece) >= _PIECE:
                out.write(piece)
                piece.clear()
        out.write(piece)
    unfinished.replace(path)
    return count


def write_truth(truth: pd.DataFrame, site_id: str, path: Path) -> None:
    """Write the true probabilities of one site, for judging models: never into the database.

    Args:
        truth: What `Simulation.truth` returned.
        site_id: Goes before its columns.
        path: A CSV file; compressed if the name ends in `.gz`.
    """
    frame = truth.copy()
    frame.insert(0, "site_id", site_id)
    frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
