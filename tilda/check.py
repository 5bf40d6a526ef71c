"""`tilda check`: send an event as a browser on the site would, and look for the event in Postgres."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg

from warehouse.kit.addresses import is_local_address
from warehouse.kit.settings import Settings
from warehouse.sites.registry import Site

EVENT_TYPE = "tilda_check"
USER_AGENT = "Mozilla/5.0 (compatible; tilda-check-bot/1.0)"
"""User agent of a bot, so that the models ignore the event if it cannot be deleted."""

REQUEST_SECONDS = 10.0
FOUND_WITHIN_SECONDS = 10.0
NOTICED_WITHIN_SECONDS = 10.0
"""Seconds during which a rejected key or origin is retried, because the API caches sites."""

_GATEWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Step:
    """Result of one check.

    Attributes:
        name: Name of the check.
        status: `waiting` means that no visitor has come yet, which is not a failure.
        detail: The result, in one sentence.
        remedy: What to do about a failure.
    """

    name: str
    status: Literal["ok", "failed", "waiting"]
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class _Event:
    """The event that was sent, the API's response, and both addresses of the connection."""

    event_id: UUID
    created_at: datetime
    answer: httpx.Response
    ours: str | None
    server: str | None


def check(connection: psycopg.Connection, site: Site, settings: Settings, local: str | None) -> Generator[Step]:
    """Check each step between a page of the site and Postgres, and yield the results.

    Args:
        connection: Connection in autocommit mode with the owner's rights.
        site: The site whose key and first domain are used.
        settings: Settings with the public address and the paths.
        local: The API's address on this machine if the stack runs here; used if PUBLIC_URL is not set.
    """
    yield _site(site)
    yield _public_url(settings, local)
    if site.is_open and (settings.public_url or local):
        with httpx.Client(timeout=REQUEST_SECONDS, headers={"User-Agent": USER_AGENT}) as client:
            yield from _check_api(client, connection, site, settings, local)
    yield _visits(connection, site)


def _check_api(
    client: httpx.Client, connection: psycopg.Connection, site: Site, settings: Settings, local: str | None
) -> Generator[Step]:
    """Run the checks that need a response of the API."""
    address = settings.public_url or local or ""
    collector = _collector(client, site, settings, address, local)
    yield collector
    if collector.status == "failed":
        return
    try:
        event = _send(client, site, settings, address)
    except httpx.HTTPError as error:
        yield _unreachable("event", f"{address}{settings.events_path}", error, local)
        return
    sent = _judge_response(event.answer, site, local)
    yield sent
    if sent.status == "failed":
        return
    yield _judge_cors(event.answer)
    seen = _find(connection, site, event)
    if seen is None:
        yield Step(
            "database",
            "failed",
            f"The event is not in the database after {FOUND_WITHIN_SECONDS:.0f} seconds.",
            "`tilda status` shows events that wait on the spool. If there are none, the API that answered uses another"
            " database: compare DATABASE_URL on both machines.",
        )
    else:
        yield Step("database", "ok", "The event arrived in the database and was deleted again.")
        yield judge_address(seen[0], event.ours, event.server)
    yield from _warnings(client, local or address)


def _site(site: Site) -> Step:
    if site.is_open:
        return Step("site", "ok", f"{site.site_id} accepts events from {', '.join(site.domains) or 'any website'}.")
    return Step(
        "site",
        "failed",
        f"{site.site_id} is closed: the API rejects its key.",
        f"Open it with `tilda site set {site.site_id} --reopen`.",
    )


def _public_url(settings: Settings, local: str | None) -> Step:
    if settings.public_url is None:
        served = local or f"http://127.0.0.1:{settings.ingest_port}"
        return Step(
            "public address",
            "failed",
            "PUBLIC_URL is not set: websites cannot reach the ingest API.",
            f"Set PUBLIC_URL in .env to the https address under which a reverse proxy serves {served}.",
        )
    if is_local_address(settings.public_url):
        return Step("public address", "ok", f"{settings.public_url} works on this machine only.")
    return Step("public address", "ok", f"PUBLIC_URL is {settings.public_url}.")


def _collector(client: httpx.Client, site: Site, settings: Settings, address: str, local: str | None) -> Step:
    """Check the script that the snippet loads, and that it contains the settings of the site."""
    url = f"{address}{settings.collector_path}"
    try:
        answer = _get_collector(client, url, site)
    except httpx.HTTPError as error:
        return _unreachable("collector", url, error, local)
    if answer.status_code != HTTPStatus.OK:
        return Step("collector", "failed", f"{url} answers {answer.status_code}.", _proxy_remedy(answer, url, local))
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if media_type not in {"text/javascript", "application/javascript"} or b"tildaAnalytics" not in answer.content:
        return Step(
            "collector",
            "failed",
            f"{url} serves something else ({media_type or 'no media type'}), not the collector.",
            _proxy_remedy(answer, url, local),
        )
    if site.public_key.encode() not in answer.content:
        return Step(
            "collector",
            "failed",
            f"{url} serves the collector without the settings of {site.site_id}.",
            "Let the reverse proxy pass the query string on, and check PUBLIC_URL: another installation may answer.",
        )
    transferred = f"{answer.num_bytes_downloaded:,} bytes {answer.headers.get('content-encoding', 'uncompressed')}"
    tls = ", valid certificate" if answer.url.scheme == "https" else ""
    return Step("collector", "ok", f"{url}: {transferred}{tls}.")


def _get_collector(client: httpx.Client, url: str, site: Site) -> httpx.Response:
    """Request the script; repeat the request while the API does not know the key of a new site.

    Raises:
        httpx.HTTPError: The API cannot be reached.
    """
    give_up = time.monotonic() + NOTICED_WITHIN_SECONDS
    while True:
        answer = client.get(url, params={"key": site.public_key}, follow_redirects=True)
        is_without_settings = b"tildaAnalytics" in answer.content and site.public_key.encode() not in answer.content
        if not is_without_settings or time.monotonic() > give_up:
            return answer
        time.sleep(1)


def _send(client: httpx.Client, site: Site, settings: Settings, address: str) -> _Event:
    """Send an event as the collector does: text/plain, with the origin of a page on the site's first domain.

    Raises:
        httpx.HTTPError: The API cannot be reached.
    """
    event_id, now = uuid4(), datetime.now(UTC)
    created_at = now.replace(microsecond=now.microsecond // 1000 * 1000)  # browsers send milliseconds
    page = _origin(site, address)
    event = {
        "event_id": str(event_id),
        "event_type": EVENT_TYPE,
        "created_at": created_at.isoformat(),
        "page_url": f"{page}/",
    }
    body = json.dumps({"sent_at": created_at.isoformat(), "events": [event]})
    give_up = time.monotonic() + NOTICED_WITHIN_SECONDS
    while True:
        with client.stream(
            "POST",
            f"{address}{settings.events_path}",
            params={"key": site.public_key},
            content=body,
            headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": page},
        ) as answer:
            ours, server = _connection_addresses(answer)  # before reading: afterwards the connection may be closed
            answer.read()
        is_known = answer.status_code not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        if is_known or time.monotonic() > give_up:
            return _Event(event_id, created_at, answer, ours, server)
        time.sleep(1)


def _origin(site: Site, address: str) -> str:
    """Return the origin of a page on the site's first domain, or the API's origin if the site accepts any."""
    if not site.domains:
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}"
    domain = site.domains[0]
    scheme = "http" if is_local_address(f"http://{domain}") else "https"
    return f"{scheme}://{domain}"


def _judge_response(answer: httpx.Response, site: Site, local: str | None) -> Step:
    """Check whether the API accepted the event."""
    url = str(answer.url.copy_with(query=None))
    status = answer.status_code
    if status == HTTPStatus.ACCEPTED:
        content = _json(answer)
        if content.get("accepted") == 1:
            return Step("event", "ok", f"The API accepted an event of a page on {answer.request.headers['origin']}.")
        if content.get("spooled"):
            return Step("event", "ok", "The API stored the event on its spool, because it cannot reach Postgres now.")
        return Step("event", "failed", f"The API rejected the event: {json.dumps(content.get('rejected'))}.")
    remedies: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: f"Another installation answers at {url}: correct PUBLIC_URL.",
        HTTPStatus.FORBIDDEN: f"Compare the domains: tilda site show {site.site_id}",
        HTTPStatus.TOO_MANY_REQUESTS: "Wait a few minutes, or raise RATE_LIMIT_PER_IP.",
    }
    if answer.is_redirect:
        remedy = (
            f"Browsers do not follow the redirect to {answer.headers.get('location')}: set PUBLIC_URL to that host."
        )
    else:
        remedy = remedies.get(status) or _proxy_remedy(answer, url, local)
    said = _json(answer).get("detail")
    return Step("event", "failed", f"{url} answers {status}{f': {said}' if said else '.'}", remedy)


def _judge_cors(answer: httpx.Response) -> Step:
    """Check whether pages may read the response. Otherwise the collector treats each request as failed and retries."""
    origin = answer.request.headers["origin"]
    allowed = answer.headers.get_list("access-control-allow-origin")
    if allowed in ([origin], ["*"]):
        return Step("CORS", "ok", f"Pages on {origin} may read the response.")
    return Step(
        "CORS",
        "failed",
        f"Access-Control-Allow-Origin is {', '.join(allowed) or 'missing'}, not {origin}: browsers hide the response.",
        "The API sends this header itself: do not let the reverse proxy change it.",
    )


def _find(connection: psycopg.Connection, site: Site, event: _Event) -> tuple[str | None] | None:
    """Wait for the event in Postgres and delete it.

    Return the network of the sender as the API saw it, as a row of one column; None if the event does not arrive.
    """
    give_up = time.monotonic() + FOUND_WITHIN_SECONDS
    while True:
        row = connection.execute(
            "delete from public.events where site_id = %s and created_at = %s and event_id = %s"
            " returning ip_address::text",
            [site.site_id, event.created_at, event.event_id],
        ).fetchone()
        if row is not None:
            return cast("tuple[str | None]", row)
        if time.monotonic() > give_up:
            return None
        time.sleep(0.2)


def _connection_addresses(answer: httpx.Response) -> tuple[str | None, str | None]:
    """Return this machine's and the server's IP address in the connection of a response."""
    stream = answer.extensions.get("network_stream")
    ours, server = (stream.get_extra_info(name) for name in ("client_addr", "server_addr")) if stream else (None, None)
    return ours and ours[0], server and server[0]


def judge_address(seen: str | None, ours: str | None, server: str | None) -> Step:
    """Check whether the API saw this machine's address, or only the address of a reverse proxy.

    Args:
        seen: The network that the API stored with the event.
        ours: This machine's address in the connection; behind NAT, the server sees another address.
        server: The server's address in the connection.
    """
    network = ipaddress.ip_network(seen) if seen else None
    ours_address = ipaddress.ip_address(ours.partition("%")[0]) if ours else None
    if network is None:
        return Step(
            "visitor address", "failed", "The API saw no address.", "Let the reverse proxy send X-Forwarded-For."
        )
    if ours_address is not None and _contains(network, ours_address):
        return Step("visitor address", "ok", f"The API sees the visitor's address ({network}).")
    is_server_private = server is None or ipaddress.ip_address(server.partition("%")[0]).is_private
    if network.is_loopback or (network.is_private and not is_server_private):
        return Step(
            "visitor address",
            "failed",
            f"The API sees the reverse proxy's address ({network}) for every visitor, so all share one rate limit.",
            "Let the proxy send X-Forwarded-For, and name the proxy in TRUSTED_PROXIES.",
        )
    return Step("visitor address", "ok", f"The API sees {network}.")


def _contains(network: _Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in network


def _warnings(client: httpx.Client, address: str) -> Generator[Step]:
    """Report warnings of the API. A reverse proxy may not serve `/ready`, so errors are ignored."""
    try:
        warnings = _json(client.get(f"{address}/ready")).get("warnings")
    except httpx.HTTPError:
        return
    for warning in cast("list[str]", warnings or []):
        yield Step("API", "failed", warning)


def _visits(connection: psycopg.Connection, site: Site) -> Step:
    """Report the first and the newest visit of people. Bots and this check are not counted."""
    row = connection.execute(
        "select min(started_at), max(started_at) from public.sessions where site_id = %s and not is_bot",
        [site.site_id],
    ).fetchone()
    if row is None or row[0] is None:
        return Step(
            "visits",
            "waiting",
            "No visit has arrived yet.",
            f"Paste the output of `tilda snippet {site.site_id}`, publish all pages, and open one.",
        )
    began, latest = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" for moment in row)
    return Step("visits", "ok", f"The first visit began {began} UTC, the newest {latest}.")


def _proxy_remedy(answer: httpx.Response, url: str, local: str | None) -> str:
    served = local or "the ingest API"
    if answer.status_code in _GATEWAY:
        return f"The reverse proxy does not reach the API: let it forward to {served}, and run `tilda status`."
    return f"Let the reverse proxy forward {urlsplit(url).path} to {served}."


def _unreachable(name: str, url: str, error: httpx.HTTPError, local: str | None) -> Step:
    """Describe why a connection failed."""
    parts = urlsplit(url)
    host = parts.hostname
    causes = _causes(error)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Step(
            name,
            "failed",
            f"DNS does not know {host}.",
            f"Add a DNS record for {host} that names this server, or correct PUBLIC_URL.",
        )
    invalid = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if invalid is not None:
        return Step(
            name,
            "failed",
            f"Browsers reject the certificate of {host}: {invalid.verify_message.rstrip('.')}.",
            f"Give the reverse proxy a certificate for {host}; Caddy and certbot get one from Let's Encrypt.",
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Step(
            name, "failed", f"{parts.netloc} does not speak TLS.", "Let the reverse proxy serve https on this port."
        )
    start = "Start it with `tilda up`." if is_local_address(url) else "Start the reverse proxy and open its port."
    if isinstance(error, httpx.TimeoutException):
        return Step(name, "failed", f"{parts.netloc} did not answer within {REQUEST_SECONDS:.0f} seconds.", start)
    if isinstance(error, httpx.ConnectError):
        return Step(name, "failed", f"Nothing accepts connections at {parts.netloc}.", start)
    return Step(name, "failed", f"The connection to {parts.netloc} broke: {error}.", _broken_remedy(local))


def _broken_remedy(local: str | None) -> str:
    return f"Check the reverse proxy's log, and whether {local or 'the ingest API'} answers."


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _json(answer: httpx.Response) -> dict[str, object]:
    try:
        value = answer.json()
    except ValueError:
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
