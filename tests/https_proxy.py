"""A TLS reverse proxy like that of a public installation. Tests misconfigure it."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


@dataclass
class HttpsProxy:
    """A proxy that forwards requests under `prefix` to `upstream`.

    Attributes:
        added: Headers that the proxy adds to every response.
        replaced: Responses `(status, headers, body)` that the proxy returns itself, by path.
    """

    upstream: str
    certificate: Path
    port: int
    prefix: str = ""
    added: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}{self.prefix}"

    def restore(self) -> None:
        """Undo every misconfiguration."""
        self.prefix = ""
        self.added.clear()
        self.replaced.clear()

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return the status, headers and body of the response to a request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        path = request.path.removeprefix(self.prefix)
        replaced = self.replaced.get(path.partition("?")[0])
        if replaced is not None:
            return replaced[0], list(replaced[1].items()), replaced[2]
        if not request.path.startswith(self.prefix):
            return 404, [], b"no such page"
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        headers["X-Forwarded-For"] = request.client_address[0]
        with httpx.stream(request.command, f"{self.upstream}{path}", content=body, headers=headers) as answer:
            raw = b"".join(answer.iter_raw())
            kept = [(name, value) for name, value in answer.headers.multi_items() if name not in _HOP_BY_HOP]
        return answer.status_code, [*kept, *self.added.items()], raw


@contextmanager
def https_proxy(upstream: str, folder: Path) -> Iterator[HttpsProxy]:
    """Run a proxy on a free port of localhost until the block ends."""
    certificate = folder / "proxy.pem"
    _write_certificate(certificate)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = proxy.answer(self)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy = HttpsProxy(upstream, certificate, server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write_certificate(file: Path) -> None:
    """Write a self-signed certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
