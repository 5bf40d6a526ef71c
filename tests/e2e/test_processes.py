"""Orphans of an ended process are stopped."""

import os
from pathlib import Path

from tilda import processes


def test_orphans_of_an_ended_process_are_stopped(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 300 & sleep 300 & exit 0"]
    leader = processes.spawn(command, dict(os.environ), tmp_path / "log", cwd=tmp_path)
    leader.wait(timeout=30)
    assert processes.stop_orphans(leader.pid) == 2
    assert processes.stop_orphans(leader.pid) == 0


def test_running_process_is_not_stopped_as_an_orphan(tmp_path: Path) -> None:
    leader = processes.spawn(["sleep", "300"], dict(os.environ), tmp_path / "log", cwd=tmp_path)
    assert processes.stop_orphans(leader.pid) == 0
    assert leader.poll() is None
    leader.kill()
    leader.wait(timeout=30)
