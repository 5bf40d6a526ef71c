"""Choose the ports on which the processes of the stack listen."""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

from tilda import processes
from warehouse.kit.errors import UserError
from warehouse.kit.ports import free_port, holder, require_free
from warehouse.kit.settings import Settings


def choose_ports(settings: Settings, hosts: Mapping[str, str], *, move: bool) -> dict[str, int]:
    """Return the port of each setting in `hosts`.

    A port that is in use is an error, because other configuration (proxy, snippet, firewall) may contain the address.
    Only the demo uses the next free port instead, for ports that are not set.

    Args:
        settings: Settings of the stack.
        hosts: Listen address by name of the port setting.
        move: Whether to use the next free port for ports that are not set.

    Raises:
        UserError: A port is in use (the message names the process and the setting), or two settings have the same port.
    """
    fixed = [name for name in hosts if settings.was_set(name) or not move]
    chosen: dict[str, int] = {}
    for name, host in hosts.items():
        _stop_leftover(settings, getattr(settings, name), host)
    for name in fixed:
        port: int = getattr(settings, name)
        for other in ["postgres_port"] * settings.uses_embedded_postgres + list(chosen):
            if port == getattr(settings, other):
                raise UserError(f"{other.upper()} and {name.upper()} are both {port}.", "Set them to different ports.")
        require_free(port, hosts[name], setting=name.upper())
        chosen[name] = port
    for name in [name for name in hosts if name not in fixed]:
        chosen[name] = free_port(getattr(settings, name), hosts[name], taken=frozenset(chosen.values()))
    return chosen


def _stop_leftover(settings: Settings, port: int, host: str) -> None:
    """Stop a process of an earlier run of this stack that still uses a port.

    If the supervisor was killed between starting and recording a process, the state file does not list the process. The
    process is recognized by its DATA_DIR and by its session, since the supervisor starts each process as a session
    leader (`processes.spawn`). Postgres is left alone: `EmbeddedPostgres.start` continues with a running server.
    """
    process = holder(port, host)
    if process is None:
        return
    try:
        of_this_stack = process.environ().get("DATA_DIR") == str(settings.data_dir)
        is_postgres = process.name().startswith("postgres")
        is_of_this_run = os.getpid() in {parent.pid for parent in process.parents()}
        leader = os.getsid(process.pid)
    except (psutil.Error, OSError):
        return
    is_child = leader == process.pid or not psutil.pid_exists(leader)
    if of_this_stack and is_child and not is_postgres and not is_of_this_run:
        processes.stop(process)
        processes.stop_orphans(leader)
