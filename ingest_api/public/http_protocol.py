"""uvicorn's HTTP parser with a bound on what a request may send before its headers are complete."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Request line and headers. Beyond it the connection is closed: the parser itself collects without a bound. The exact
bound on headers, with a readable answer, is the middleware's."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request head does not end."""

    _head_bytes = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and close the connection if the head has grown too large."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request line and headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete; what follows is bounded by the endpoints."""
        self._in_head = False
        super().on_headers_complete()
