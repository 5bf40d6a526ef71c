"""Errors when MindsDB is down, rejects the login, fails or hangs. tests/e2e covers the rest with a real server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from ml import mindsdb_publishing
from ml.errors import MindsDBError
from ml.mindsdb_client import Client, Server

DATABASE = mindsdb_publishing.Database("127.0.0.1", 5432, "tilda", "reader", "secret-password")
SAMPLE = mindsdb_publishing.Sample("SELECT 1", pd.Series([0.5], index=["v1"]))


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()


def reply(status: int, body: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.end_headers()
        request.wfile.write(body.encode())

    return answer


def publish(url: str, name: str = "propensity_shop", **settings: float | str) -> mindsdb_publishing.Published:
    return mindsdb_publishing.publish(
        Server(url, **settings),
        DATABASE,
        name=name,
        model_query="SELECT 1",
        features_query="SELECT 1",
        sample=SAMPLE,
    )


def test_an_unreachable_server_is_reported_with_the_remedy() -> None:
    with server(reply(200, "{}")) as url:
        pass
    with pytest.raises(MindsDBError, match="not reachable; start it, or correct MINDSDB_URL"):
        publish(url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_login_is_reported_with_the_remedy(status: int) -> None:
    with server(reply(status, "{}")) as url, pytest.raises(MindsDBError, match="refuses the login; correct"):
        publish(url, username="someone", password="wrong")


def test_a_server_that_hangs_causes_a_timeout() -> None:
    released = threading.Event()
    with server(lambda _: released.wait(30) and None) as url:
        with pytest.raises(MindsDBError, match="did not answer within"):
            publish(url, timeout=0.2)
        released.set()


def test_an_error_in_a_200_response_is_raised() -> None:
    body = '{"type": "error", "error_message": "Unknown integration name: tilda"}'
    with server(reply(200, body)) as url, pytest.raises(MindsDBError, match="Unknown integration name"):
        Client(Server(url)).sql("SHOW VIEWS")


@pytest.mark.parametrize("body", ["<html>a proxy</html>", "[]", "{}"])
def test_a_response_that_is_not_mindsdbs_is_an_error(body: str) -> None:
    with server(reply(200, body)) as url, pytest.raises(MindsDBError):
        publish(url)


@pytest.mark.parametrize("name", ["", "Shop", "1shop", "shop; DROP MODEL x", "a" * 80])
def test_an_invalid_model_name_is_rejected(name: str) -> None:
    with pytest.raises(MindsDBError, match="no name for MindsDB"):
        publish("http://127.0.0.1:9", name=name)


def test_passwords_are_not_shown() -> None:
    assert "secret-password" not in repr(DATABASE)
    assert "hidden" not in repr(Server("http://x", "me", "hidden"))
