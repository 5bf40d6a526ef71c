"""uvicorn's HTTP parser with a limit on the size of a request's head."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
"""Limit for the request line and headers. The parser has none and would buffer an endless head in memory. The
middleware has a smaller limit, and answers with a problem document."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose request head exceeds `MAX_HEAD_BYTES`."""

    _head_bytes = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Parse the data, and close the connection if the head is too large."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request line and headers are too large.")

    def on_message_begin(self) -> None:
        """Start counting the bytes of a request's head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting; the endpoints limit the body."""
        self._in_head = False
        super().on_headers_complete()
