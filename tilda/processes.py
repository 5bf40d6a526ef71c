"""One child process: started in a group of its own, stopped with all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 20


@dataclass(frozen=True)
class Recorded:
    """A process as the state file knows it. The start time tells it from a later one with the same id."""

    name: str
    pid: int
    started: float
    url: str | None = None

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None

    def as_dict(self) -> dict[str, Any]:
        """The state file's form of it."""
        return {"name": self.name, "pid": self.pid, "started": self.started, "url": self.url}


def spawn(command: list[str], environment: dict[str, str], log: Path, *, cwd: Path) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, its output appended to `log`.

    On Linux the child is told to end when the supervisor dies, even by `kill -9`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            start_new_session=True,
            # the supervisor has one thread, so nothing can hold a lock that the child would need
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(process: psutil.Process, seconds: float = STOP_SECONDS) -> None:
    """Stop a process and its descendants: a request first (SIGTERM), after `seconds` an order (SIGKILL)."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs([process], timeout=seconds)
    # What the parent left behind gets its own request; orphans are found by the list made before.
    remaining = [member for member in {*family, *alive} if member.is_running()]
    for member in remaining:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, alive = psutil.wait_procs(remaining, timeout=5)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=5)


def stop_orphans(leader: int) -> int:
    """Stop what a process that was started here, and is dead, left behind. Returns how many there were.

    They are the rest of the session that it led; its number is not given away while they live.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        if psutil.Process(leader).status() != psutil.STATUS_ZOMBIE:
            return 0
    left = [process for process in psutil.process_iter() if process.pid != leader and _session(process) == leader]
    for process in left:
        stop(process, seconds=5)
    return len(left)


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def own_start_time() -> float:
    """When this process started, as `Recorded` keeps it."""
    return psutil.Process(os.getpid()).create_time()
