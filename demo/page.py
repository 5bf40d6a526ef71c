"""The demo website: a small page with the class names that Tilda uses, served on 127.0.0.1."""

import html
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

FOLDER: Final = Path(__file__).parent / "page"
CONTENT_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def render(site_key: str, ingest_url: str, name: str = "index.html") -> str:
    """Return the text of a file with the site key and the URL of the ingest API filled in.

    Args:
        site_key: The site's public key.
        ingest_url: URL of the ingest API, without a trailing slash.
        name: Name of a file in `demo/page/`.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    text = (FOLDER / name).read_text(encoding="utf-8")
    return text.replace("{{site_key}}", html.escape(site_key)).replace("{{ingest_url}}", html.escape(ingest_url))


class _Site(ThreadingHTTPServer):
    """Answers GET with the files in `demo/page/`, and POST in the format of Tilda's form endpoint."""

    daemon_threads = True

    def __init__(self, site_key: str, ingest_url: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.site_key = site_key
        self.ingest_url = ingest_url
        self.forms_taken = 0


def _answer_of_tilda(number: int, fields: dict[str, str]) -> dict[str, Any]:
    """Return the answer that Tilda's form endpoint gives: the result `project:transaction`, with `:order` for an order.

    Args:
        number: Transaction number; the order number is 1000 more.
        fields: The form's fields. `tildapayment` holds the order as JSON; `paymentsystem` chooses what follows: nothing
            (cash), a redirect to a payment page, or a payment widget.
    """
    if "tildapayment" not in fields:
        return {"message": "OK", "results": [f"1:{number}"]}
    order = json.loads(fields["tildapayment"])
    order_id = 1000 + number
    answer: dict[str, Any] = {"message": "OK", "results": [f"1:{number}:{order_id}"]}
    system = fields.get("paymentsystem")
    if system == "link":
        answer["next"] = {"type": "link", "value": "thanks.html"}
    elif system in {"widget", "cloudpayments"}:
        args = {
            "amount": f"{order['amount']:.2f}",
            "currency": order["currency"],
            "description": f"Order {order_id}",
            "invoiceId": f"1:{order_id}",
        }
        answer["next"] = {"type": "function", "value": {"sysname": system, "args": args}}
    return answer


class _Handler(BaseHTTPRequestHandler):
    server: _Site  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        name = self.path.split("?")[0].strip("/") or "index.html"
        file = FOLDER / Path(name).name
        if not file.is_file():
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such page")
            return
        text = render(self.server.site_key, self.server.ingest_url, file.name)
        self._answer(HTTPStatus.OK, CONTENT_TYPES[file.suffix], text.encode())

    def do_POST(self) -> None:
        fields = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        self.server.forms_taken += 1
        answer = _answer_of_tilda(self.server.forms_taken, fields)
        self._answer(HTTPStatus.OK, "application/json", json.dumps(answer).encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing, so that requests do not appear in the output of the demo."""


@contextmanager
def serve(site_key: str, ingest_url: str, port: int = 0) -> Generator[str]:
    """Serve the site until the block ends.

    Args:
        site_key: The site's public key.
        ingest_url: URL of the ingest API, without a trailing slash.
        port: Port on 127.0.0.1; 0 selects a free port.

    Yields:
        The URL of the front page.
    """
    site = _Site(site_key, ingest_url, port)
    thread = threading.Thread(target=site.serve_forever, name="demo-page", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{site.server_port}/"
    finally:
        site.shutdown()
        site.server_close()
        thread.join()
