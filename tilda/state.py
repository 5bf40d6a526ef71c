"""The state file of a running stack, and the lock that allows only one."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from tilda.processes import Recorded

Phase = Literal["starting", "ready", "stopping", "failed"]


@dataclass
class State:
    """What the supervisor tells about itself; other commands read it.

    Attributes:
        phase: `failed` comes with `message`.
        message: What goes on now, or why it failed, in one sentence.
        supervisor: The supervising process.
        processes: Its children.
        urls: Addresses by name: ingest, private, dagster.
    """

    phase: Phase = "starting"
    message: str = ""
    supervisor: Recorded | None = None
    processes: list[Recorded] = field(default_factory=list[Recorded])
    urls: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """The state that was last written; None if there is none."""
        try:
            raw = json.loads(_file(data_dir).read_text())
            supervisor = Recorded(**raw["supervisor"]) if raw["supervisor"] else None
            processes = [Recorded(**one) for one in raw["processes"]]
            return cls(raw["phase"], raw["message"], supervisor, processes, raw["urls"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, data_dir: Path) -> None:
        """Put it in place whole, so that no reader sees half of it."""
        content = {
            "phase": self.phase,
            "message": self.message,
            "supervisor": self.supervisor.as_dict() if self.supervisor else None,
            "processes": [process.as_dict() for process in self.processes],
            "urls": self.urls,
        }
        path = _file(data_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(path)


def running(data_dir: Path) -> State | None:
    """The state of the stack if its supervisor is alive."""
    state = State.read(data_dir)
    return state if state and state.supervisor and state.supervisor.find() else None


def forget(data_dir: Path) -> None:
    """Remove the state file."""
    _file(data_dir).unlink(missing_ok=True)


@contextmanager
def only_one(data_dir: Path) -> Generator[bool]:
    """Hold the stack's lock while the block runs; False when another holds it. The kernel frees it after any end."""
    path = data_dir / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _file(data_dir: Path) -> Path:
    return data_dir / "run" / "stack.json"
