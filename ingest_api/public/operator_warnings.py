"""Warnings about the traffic of the last minutes, for the operator; `/ready` and `tilda status` show them."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import Counter
from http import HTTPStatus

WINDOW_SECONDS = 300.0
"""Length of a window. Counts cover the current and the previous window."""
MAX_PEERS = 100
FEWEST_FORWARDED = 10
FEWEST_UNKNOWN = 10
FEWEST_LIMITED = 20
LIMITED_SHARE = 0.05
LOG_SECONDS = 60.0

_log = logging.getLogger(__name__)


class OperatorWarnings:
    """Counts answers, forwarded headers, refused origins and unknown keys of this process."""

    def __init__(self) -> None:
        self._window = 0
        self._counts: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._peers: Counter[str] = Counter()
        self._peers_before: Counter[str] = Counter()
        self._logged_at: dict[str, float] = {}

    def answered(self, status: int) -> None:
        """Count the answer to a request."""
        self._turn()
        self._counts["answers"] += 1
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self._counts["limited"] += 1
            if self._many_limited():
                self._log_once("limited", "many requests are answered 429", {"requests": self._sum("limited")})

    def refused_origin(self) -> None:
        """Count a request from a page whose domain is not registered for the site."""
        self._turn()
        self._counts["foreign"] += 1

    def unknown_key(self) -> None:
        """Count a request for the collector with a key that no site has."""
        self._turn()
        self._counts["unknown keys"] += 1

    def missing_key(self) -> None:
        """Count a request for the collector without a key, as the snippets of earlier releases send it."""
        self._turn()
        self._counts["missing keys"] += 1

    def ignored_forwarding(self, peer: str) -> None:
        """Count a request whose `X-Forwarded-For` was ignored because its peer is not a trusted proxy."""
        self._turn()
        network = _shown(peer)
        if network in self._peers or len(self._peers) < MAX_PEERS:
            self._peers[network] += 1
            if self._peers[network] == FEWEST_FORWARDED:
                text = "X-Forwarded-For is ignored: TRUSTED_PROXIES does not contain the peer"
                self._log_once(network, text, {"peer": network})

    def sentences(self) -> list[str]:
        """Return the warnings, each with its remedy."""
        self._turn()
        warnings: list[str] = []
        for peer, requests in (self._peers + self._peers_before).most_common(3):
            if requests >= FEWEST_FORWARDED:
                warnings.append(
                    f"{requests:,} recent requests from {peer} carried X-Forwarded-For, which is ignored: all visitors"
                    f" behind that address share one rate limit. If it is your proxy, add {peer} to TRUSTED_PROXIES and"
                    " restart."
                )
        if self._many_limited():
            warnings.append(
                f"{self._sum('limited'):,} of the last {self._sum('answers'):,} requests were answered 429."
                " Check that visitors' addresses arrive (TRUSTED_PROXIES), or raise RATE_LIMIT_PER_IP or"
                " RATE_LIMIT_PER_SITE."
            )
        if foreign := self._sum("foreign"):
            warnings.append(
                f"{foreign:,} recent requests came from pages whose domain is not registered for their site and were"
                " refused. `tilda rejected list` names the domains."
            )
        if (unknown := self._sum("unknown keys")) >= FEWEST_UNKNOWN:
            warnings.append(
                f"{unknown:,} recent requests loaded the collector with a key that no open site has; the events of"
                " these pages are refused. `tilda snippet SITE` prints the snippet with the right key."
            )
        if (missing := self._sum("missing keys")) >= FEWEST_UNKNOWN:
            warnings.append(
                f"{missing:,} recent requests loaded the collector without a key, so it does not record the shop and"
                " ignores the settings of the site. Replace the snippet in these pages: `tilda snippet SITE`."
            )
        return warnings

    def _many_limited(self) -> bool:
        limited = self._sum("limited")
        return limited >= FEWEST_LIMITED and limited > LIMITED_SHARE * self._sum("answers")

    def _sum(self, name: str) -> int:
        return self._counts[name] + self._before[name]

    def _turn(self) -> None:
        """Start a new window if the current one has ended."""
        window = int(time.monotonic() // WINDOW_SECONDS)
        if window != self._window:
            follows = window == self._window + 1
            self._before, self._counts = (self._counts if follows else Counter()), Counter()
            self._peers_before, self._peers = (self._peers if follows else Counter()), Counter()
            self._window = window

    def _log_once(self, key: str, text: str, details: dict[str, object]) -> None:
        now = time.monotonic()
        if now - self._logged_at.get(key, -LOG_SECONDS) >= LOG_SECONDS:
            if len(self._logged_at) > MAX_PEERS:
                self._logged_at.clear()
            self._logged_at[key] = now
            _log.warning(text, extra=details)


def _shown(peer: str) -> str:
    """Return a private address in full, else its network: a visitor's address must not be shown or logged."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_private:
        return str(address)
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))
