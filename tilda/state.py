"""State file of the running stack, and the lock that prevents a second stack."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from tilda.processes import Recorded
from warehouse.kit.locks import file_lock

Phase = Literal["starting", "ready", "stopping", "failed"]


@dataclass
class State:
    """State of the stack. The supervisor writes it and other commands read it.

    Attributes:
        phase: Phase of the stack's life.
        message: The present step, or the reason of a failure, in one sentence.
        supervisor: The supervisor's process.
        processes: The child processes of the supervisor.
        urls: Addresses by service: ingest, private, dagster, and others that run.
    """

    phase: Phase = "starting"
    message: str = ""
    supervisor: Recorded | None = None
    processes: list[Recorded] = field(default_factory=list[Recorded])
    urls: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Read the state file. Return None if there is no valid file."""
        try:
            raw = json.loads(_file(data_dir).read_text())
            supervisor = Recorded(**raw["supervisor"]) if raw["supervisor"] else None
            processes = [Recorded(**one) for one in raw["processes"]]
            return cls(raw["phase"], raw["message"], supervisor, processes, raw["urls"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, data_dir: Path) -> None:
        """Replace the state file atomically, so that readers never see a partial file."""
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
    """Return the state of the stack; None if its supervisor is not running."""
    state = State.read(data_dir)
    return state if state and state.supervisor and state.supervisor.find() else None


def forget(data_dir: Path) -> None:
    """Remove the state file."""
    _file(data_dir).unlink(missing_ok=True)


@contextmanager
def stack_lock(data_dir: Path) -> Generator[bool]:
    """Hold the stack's lock while the block runs. Yield False if another process holds the lock.

    The kernel releases the lock when the process ends for any reason.
    """
    path = data_dir / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path) as is_held:
        yield is_held
        if is_held:
            path.unlink(missing_ok=True)


def _file(data_dir: Path) -> Path:
    return data_dir / "run" / "stack.json"
