"""The visitor's IP address. Forwarded headers count only if a trusted proxy sent them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from warehouse.kit.errors import UserError

NONE = "none"
"""Value of `TRUSTED_PROXIES` that trusts no proxy, not even one on this machine."""

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is trusted.

    Args:
        proxies: IP addresses or networks (`10.0.0.0/8`).

    Raises:
        UserError: An entry is neither an address nor a network.
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
                    f"TRUSTED_PROXIES contains {proxy!r}, which is not an address.",
                    "Give addresses or networks separated by commas, or none.",
                ) from error

    def client(self, peer: str | None, forwarded: Sequence[bytes]) -> str | None:
        """Return the visitor's address: the last hop that is not a trusted proxy.

        Args:
            peer: Address that opened the connection.
            forwarded: Every `X-Forwarded-For` header of the request, in order. Each proxy appends to the right, so an
                untrusted hop may have forged everything to its left.
        """
        if peer is None or not forwarded or not self.trusts(peer):
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
        """Return True if an address belongs to a trusted proxy."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def _without_port(hop: str) -> str | None:
    """Remove brackets and port (`1.2.3.4:80`, `[::1]:80`); return None if the rest is not an IP address."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None
