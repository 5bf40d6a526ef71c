"""The ports that the processes of the stack listen on."""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

from tilda import processes
from warehouse.kit.errors import UserError
from warehouse.kit.ports import free_port, holder, require_free
from warehouse.kit.settings import Settings


def choose_ports(settings: Settings, hosts: Mapping[str, str], *, move: bool) -> dict[str, int]:
    """The port of each setting that `hosts` names.

    A port that is taken is an error: an address that people configured elsewhere (proxy, snippet, firewall) must not
    change by itself. Only the demo moves a port that was not set to the next free one.

    Args:
        settings: Of the stack that starts.
        hosts: The address to listen on, by the name of the port's setting.
        move: Whether a port that was not set may move.

    Raises:
        UserError: A port is taken; the message names the process and the setting. Or two settings name one port.
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
    """Stop a process of an earlier run of this stack that still holds a port.

    The state file does not list a process whose supervisor was killed between starting and recording it. It is known
    by its DATA_DIR and by its session: the supervisor starts each process as the leader of one (`processes.spawn`).
    Postgres is not among them; `EmbeddedPostgres.start` goes on with the server that an earlier run left.
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
