"""A website for tests: short pages with the real snippet, on another origin than the API.

Pages of localhost are recorded because the snippet says so. Pages of `*.test`, which the browser finds on this machine
as well, behave like pages of the internet.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.browser.event_log import EventLog

TALL = '<div style="height: 5000px"></div>'


class Site:
    """Serves the registered pages at http://shop.localhost:PORT and at every other name of this machine."""

    def __init__(self, api: EventLog) -> None:
        self.api = api
        self.pages: dict[str, str] = {}
        self.missing: set[str] = set()
        """Paths of registered pages that are answered with the status 404."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/", host: str = "shop.localhost") -> str:
        return f"http://{host}:{self._server.server_port}{path}"

    def snippet(self, options: str = "") -> str:
        """Return the script tag. Unless the options name a mode of consent, visitors are counted without asking."""
        if "data-consent" not in options:
            options += ' data-consent="opt-out"'
        options += " data-localhost"
        source = f"{self.api.url}{self.api.script}"
        return f'<script async src="{source}" data-site-key="{self.api.site_key}" {options}></script>'

    def page(self, path: str, body: str = "", *, options: str = "", head: str = "") -> str:
        """Register a page at the path and return its URL."""
        self.pages[path] = (
            f"<!doctype html><html><head><meta charset=utf-8><title>Page {path}</title>{head}"
            f"{self.snippet(options)}</head><body>{body}</body></html>"
        )
        return self.url(path)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = site.pages.get(self.path.split("?")[0])
                body = (page or "").encode()
                is_missing = page is None or self.path.split("?")[0] in site.missing
                self.send_response(404 if is_missing else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *args: object) -> None: ...

        return Handler
