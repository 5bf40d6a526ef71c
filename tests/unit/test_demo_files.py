"""Files that a simulated run writes."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from demo.files import write_events, write_truth
from demo.simulation.simulation import Simulation

END = datetime(2026, 7, 1, tzinfo=UTC)


def run() -> Simulation:
    return Simulation(60, 20, 7, timezone="UTC", domain="shop.example", end=END)


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_events_are_written_one_per_line_and_files_are_reproducible(tmp_path: Path, name: str) -> None:
    count = write_events(run().events(), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    lines = (gzip.decompress(data) if name.endswith(".gz") else data).decode().splitlines()
    assert [json.loads(line) for line in lines] == list(run().events())
    assert count == len(lines)
    write_events(run().events(), tmp_path / name)
    assert (tmp_path / name).read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    def failing_events():
        yield {"event_id": "1"}
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        write_events(failing_events(), tmp_path / "events.jsonl")
    assert not (tmp_path / "events.jsonl").exists()


def test_truth_survives_a_round_trip_through_csv(tmp_path: Path) -> None:
    truth = run().truth([END])
    write_truth(truth, "shop", tmp_path / "truth.csv.gz")
    read = pd.read_csv(tmp_path / "truth.csv.gz", parse_dates=["as_of"])
    assert read.columns.tolist() == ["site_id", "user_id", "as_of", "p_conversion_7d", "p_purchase_7d"]
    assert set(read["site_id"]) == {"shop"}
    assert len(read) > 10
    assert read["user_id"].tolist() == truth["user_id"].tolist()
    assert (read["as_of"] == END).all()
    assert read["p_conversion_7d"].tolist() == truth["p_conversion_7d"].tolist()
