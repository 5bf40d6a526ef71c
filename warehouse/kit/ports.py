"""TCP ports of this machine: which are free, and which process holds one that is not."""

from __future__ import annotations

import errno
import shlex
import socket
from collections.abc import Generator
from typing import Any

import psutil

from warehouse.kit.errors import UserError

LOOPBACK = "127.0.0.1"
WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound
COMMAND_CHARACTERS = 80


def free_port(wanted: int, host: str = LOOPBACK, *, taken: frozenset[int] = frozenset()) -> int:
    """`wanted`, or the next port above it that is free and not in `taken`.

    Raises:
        UserError: None of 100 ports is free.
    """
    for port in range(wanted, min(wanted + 100, 65536)):
        if port not in taken and _bind_error(port, host) is None:
            return port
    raise UserError(f"No port from {wanted} to {wanted + 99} on {host} is free.", "Stop what listens there.")


def require_free(port: int, host: str = LOOPBACK, *, setting: str) -> None:
    """Check that a server can listen on a port.

    Args:
        port: The port.
        host: The address to listen on.
        setting: The setting that chose the port, for the remedy.

    Raises:
        UserError: It cannot; the message names the process that holds the port, if this user may see it.
    """
    error = _bind_error(port, host)
    if error is None:
        return
    if error.errno != errno.EADDRINUSE:
        raise UserError(
            f"Nothing can listen on port {port} of {host}: {error.strerror}.",
            f"Set {setting}, or the address that belongs to it, in the environment or .env.",
        )
    process = holder(port, host)
    by = f"process {process.pid} ({_describe(process)})" if process else "a process that this user cannot see"
    raise UserError(f"Port {port} on {host} is taken by {by}.", f"Stop that process, or set {setting} to another port.")


def holder(port: int, host: str = LOOPBACK) -> psutil.Process | None:
    """The process that listens on a port; None if there is none, or this user cannot see it."""
    for pid, ip, its_port in _listeners():
        if its_port == port and (ip == host or WILDCARDS & {ip, host}):
            try:
                return psutil.Process(pid)
            except psutil.NoSuchProcess:
                return None
    return None


def _listeners() -> Generator[tuple[int, str, int]]:
    """Process id, address and port of the listening sockets that this user can see."""
    try:
        found = [(one.pid, one) for one in psutil.net_connections("tcp")]
    except psutil.AccessDenied:  # macOS lists all sockets to root only, and to a user those of each own process
        found = [(process.pid, one) for process in psutil.process_iter() for one in _connections(process)]
    for pid, one in found:
        if pid is not None and one.status == psutil.CONN_LISTEN and one.laddr:
            yield pid, one.laddr.ip, one.laddr.port


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("tcp")
    except psutil.Error:
        return []


def _bind_error(port: int, host: str) -> OSError | None:
    """Why a server cannot listen on a port; None if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # as servers do: connections of a server that has just ended do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _describe(process: psutil.Process) -> str:
    """The command line, shortened; of another user's process the name may be all that is visible."""
    try:
        command = shlex.join(process.cmdline()) or process.name()
    except psutil.Error:
        return "command unknown"
    return command if len(command) <= COMMAND_CHARACTERS else f"{command[: COMMAND_CHARACTERS - 1]}…"
