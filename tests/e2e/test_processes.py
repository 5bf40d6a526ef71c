"""What a process leaves behind when it dies is stopped with it."""

import os
from pathlib import Path

from tilda import processes


def test_orphans_of_a_dead_process_are_found_and_stopped(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 300 & sleep 300 & exit 0"]
    leader = processes.spawn(command, dict(os.environ), tmp_path / "log", cwd=tmp_path)
    leader.wait(timeout=30)
    assert processes.stop_orphans(leader.pid) == 2
    assert processes.stop_orphans(leader.pid) == 0


def test_a_living_process_is_no_orphan(tmp_path: Path) -> None:
    leader = processes.spawn(["sleep", "300"], dict(os.environ), tmp_path / "log", cwd=tmp_path)
    assert processes.stop_orphans(leader.pid) == 0
    assert leader.poll() is None
    leader.kill()
    leader.wait(timeout=30)
