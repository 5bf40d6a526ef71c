"""TCP ports of this machine: finds free ports, and the processes that use the others."""

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
    """Return `wanted`, or the next free port above it that is not in `taken`.

    Raises:
        UserError: None of 100 ports is free.
    """
    for port in range(wanted, min(wanted + 100, 65536)):
        if port not in taken and _bind_error(port, host) is None:
            return port
    raise UserError(
        f"No port from {wanted} to {wanted + 99} on {host} is free.", "Stop a process that listens on one of them."
    )


def require_free(port: int, host: str = LOOPBACK, *, setting: str) -> None:
    """Check that a server can listen on a port.

    Args:
        port: The port.
        host: The address to listen on.
        setting: The setting that chose the port, for the remedy.

    Raises:
        UserError: A server cannot listen; the message names the process that uses the port, if this user may see it.
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
    """Return the process that listens on a port; None if there is none, or if this user cannot see it."""
    for pid, ip, its_port in _listeners():
        if its_port == port and (ip == host or WILDCARDS & {ip, host}):
            try:
                return psutil.Process(pid)
            except psutil.NoSuchProcess:
                return None
    return None


def _listeners() -> Generator[tuple[int, str, int]]:
    """Yield process ID, address and port of the listening sockets that this user can see."""
    try:
        found = [(one.pid, one) for one in psutil.net_connections("tcp")]
    except psutil.AccessDenied:  # on macOS only root can list all sockets; others list those of each own process
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
    """Return the error with which a server could not listen on a port; None if it could."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: ignore connections in TIME_WAIT of a server that has just ended.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _describe(process: psutil.Process) -> str:
    """Return the truncated command line, or only the name if another user's process shows no command line."""
    try:
        command = shlex.join(process.cmdline()) or process.name()
    except psutil.Error:
        return "command unknown"
    return command if len(command) <= COMMAND_CHARACTERS else f"{command[: COMMAND_CHARACTERS - 1]}…"
