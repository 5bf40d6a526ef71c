"""The address of the visitor, from forwarded headers only when configured proxies wrote them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from warehouse.kit.errors import UserError

NONE = "none"
"""In place of proxies: no `X-Forwarded-For` counts, not even from this machine."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` counts.

    Args:
        proxies: Addresses or networks (`10.0.0.0/8`).

    Raises:
        UserError: One is neither.
    """

    def __init__(self, proxies: Sequence[str]) -> None:
        self._networks: list[_Network] = []
        if tuple(proxies) == (NONE,):
            return
        for proxy in proxies:
            try:
                self._networks.append(ipaddress.ip_network(proxy, strict=False))
            except ValueError as error:
                raise UserError(
                    f"TRUSTED_PROXIES names {proxy!r}, which is not an address.",
                    "Give addresses or networks separated by commas, or none.",
                ) from error

    def client(self, peer: str | None, forwarded: Iterable[bytes]) -> str | None:
        """The visitor's address: the newest hop that is no trusted proxy.

        Args:
            peer: Who opened the connection.
            forwarded: Every `X-Forwarded-For` header of the request, in order. Each proxy appends to the right; an
                untrusted hop may have invented everything to its left.
        """
        if peer is None or not self.trusts(peer):
            return peer
        hops = [hop.strip() for header in forwarded for hop in header.decode("latin-1").split(",")]
        nearest = peer
        for hop in reversed(hops):
            address = _without_port(hop)
            if address is None:
                return nearest
            nearest = address
            if not self.trusts(address):
                break
        return nearest

    def trusts(self, address: str) -> bool:
        """Return True if an address is one of the proxies."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def _without_port(hop: str) -> str | None:
    """`1.2.3.4:80` and `[::1]:80` without brackets and port; None if it is not an address."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None
