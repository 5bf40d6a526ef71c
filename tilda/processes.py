"""Start child processes, and stop them together with their descendants."""

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
    """A process in the state file. The start time distinguishes it from a later process with the same ID."""

    name: str
    pid: int
    started: float
    url: str | None = None

    def find(self) -> psutil.Process | None:
        """Return the process; None if it is not running any more."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form for the state file."""
        return {"name": self.name, "pid": self.pid, "started": self.started, "url": self.url}


def spawn(command: list[str], environment: dict[str, str], log: Path, *, cwd: Path) -> subprocess.Popen[bytes]:
    """Start a command in its own session and append its output to `log`.

    On Linux, the kernel sends SIGTERM to the child when the supervisor dies, even by SIGKILL.
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
            # safe, because the supervisor has one thread: no other thread can hold a lock that the child needs
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(process: psutil.Process, seconds: float = STOP_SECONDS) -> None:
    """Stop a process and its descendants with SIGTERM, and after `seconds` with SIGKILL."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    _, alive = psutil.wait_procs([process], timeout=seconds)
    # Descendants that outlive the parent get their own SIGTERM; the list above finds them after they lost their parent.
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
    """Stop the remaining processes of a dead session leader. Return their number.

    The ID of the session cannot be reused while one of its processes is running.
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
    """Return the start time of this process, as in `Recorded.started`."""
    return psutil.Process(os.getpid()).create_time()
