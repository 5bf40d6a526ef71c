"""Drive Firefox and WebKitGTK through the W3C protocols that each of them speaks itself.

Firefox speaks WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/) on a WebSocket; Debian has no geckodriver.
WebKitGTK's driver speaks WebDriver (https://www.w3.org/TR/webdriver2/) over HTTP.
"""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.sync.client import ClientConnection, connect

from warehouse.kit.ports import free_port

START_SECONDS: Final = 30
WEBKIT_BROWSER: Final = next(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"), None)


class BrowserWindow(ABC):
    """One tab at a time: `open_tab` makes a new tab the current one."""

    @abstractmethod
    def open(self, url: str) -> None:
        """Load the URL in the current tab and wait for its load event."""

    @abstractmethod
    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the current tab; the value must fit into JSON."""

    @abstractmethod
    def click(self, selector: str) -> None:
        """Click an element as a person does: the page receives trusted events."""

    @abstractmethod
    def type(self, selector: str, text: str) -> None:
        """Click a field and type ASCII text."""

    @abstractmethod
    def open_tab(self) -> None: ...

    @abstractmethod
    def close_tab(self) -> None:
        """Close the current tab, as its user does, and make a remaining tab the current one."""

    def wait_for(self, expression: str, seconds: float = 15) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression} was not true within {seconds} s"
            time.sleep(0.1)


class Firefox(BrowserWindow):
    """A session of WebDriver BiDi."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._send("session.new", capabilities={})
        self._tabs: list[str] = [tree["context"] for tree in self._send("browsingContext.getTree")["contexts"]]

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv(timeout=START_SECONDS))).get("id") != number:
            pass  # an event, or the answer to an earlier command
        assert answer["type"] == "success", answer
        return answer["result"]

    def open(self, url: str) -> None:
        self._send("browsingContext.navigate", context=self._tabs[-1], url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        result = self._send(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((value) => JSON.stringify(value) ?? 'null')",
            target={"context": self._tabs[-1]},
            awaitPromise=True,
        )
        assert result["type"] == "success", result
        return json.loads(result["result"]["value"])

    def click(self, selector: str) -> None:
        point = self.evaluate(
            f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2].map(Math.round))"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        self._perform("pointer", [
            {"type": "pointerMove", "x": point[0], "y": point[1]},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ])  # fmt: skip

    def type(self, selector: str, text: str) -> None:
        self.click(selector)
        self._perform("key", [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")])

    def _perform(self, kind: str, actions: list[dict[str, Any]]) -> None:
        source = {"type": kind, "id": kind, "actions": actions}
        self._send("input.performActions", context=self._tabs[-1], actions=[source])

    def open_tab(self) -> None:
        self._tabs.append(self._send("browsingContext.create", type="tab")["context"])

    def close_tab(self) -> None:
        self._send("browsingContext.close", context=self._tabs.pop())


class WebKit(BrowserWindow):
    """A session of WebDriver."""

    def __init__(self, driver: httpx.Client) -> None:
        self._http = driver
        options = {"binary": str(WEBKIT_BROWSER), "args": ["--automation"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        self._session = f"/session/{self._call('POST', '/session', capabilities=capabilities)['sessionId']}"

    def _call(self, method: str, path: str, **body: Any) -> Any:
        response = self._http.request(method, path, content=json.dumps(body) if method == "POST" else None)
        assert response.is_success, response.text
        return response.json()["value"]

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", url=url)

    def evaluate(self, expression: str) -> Any:
        return self._call("POST", f"{self._session}/execute/sync", script=f"return {expression}", args=[])

    def _element(self, selector: str) -> str:
        found = self._call("POST", f"{self._session}/element", using="css selector", value=selector)
        return f"{self._session}/element/{next(iter(found.values()))}"

    def click(self, selector: str) -> None:
        self._call("POST", f"{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"{self._element(selector)}/value", text=text)

    def open_tab(self) -> None:
        self._switch(self._call("POST", f"{self._session}/window/new", type="tab")["handle"])

    def close_tab(self) -> None:
        self._switch(self._call("DELETE", f"{self._session}/window")[-1])

    def _switch(self, handle: str) -> None:
        self._call("POST", f"{self._session}/window", handle=handle)

    def quit(self) -> None:
        self._call("DELETE", self._session)


@contextmanager
def firefox() -> Generator[Firefox]:
    """Start Firefox with an empty profile. It exits at the end of the block."""
    port = free_port(9222)
    with tempfile.TemporaryDirectory() as profile:
        # `shop.localhost` already resolves to this machine
        command = ["firefox-esr", "--headless", "--no-remote", "--profile", profile, f"--remote-debugging-port={port}"]
        with _running(command), _connect(f"ws://127.0.0.1:{port}/session") as socket:
            yield Firefox(socket)


@contextmanager
def webkit() -> Generator[WebKit]:
    """Start WebKitGTK's MiniBrowser on a virtual screen. It exits at the end of the block."""
    port = free_port(9322)
    command = ["xvfb-run", "--auto-servernum", "WebKitWebDriver", f"--port={port}"]
    with _running(command), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=START_SECONDS) as http:
        _wait_for_status(http)
        window = WebKit(http)
        yield window
        window.quit()


def missing_programs(name: str) -> list[str]:
    """Return the programs that the browser `firefox` or `webkit` needs and this machine lacks."""
    needed = {"firefox": ["firefox-esr"], "webkit": ["WebKitWebDriver", "xvfb-run"]}[name]
    return [program for program in needed if not shutil.which(program)]


@contextmanager
def _running(command: list[str]) -> Generator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        try:
            yield
        finally:
            os.killpg(process.pid, 15)
            process.wait(START_SECONDS)


def _connect(url: str) -> ClientConnection:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect(url, max_size=None)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _wait_for_status(http: httpx.Client) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            http.get("/status")
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
